"""RecentEvents beside the plain list of what was committed: what it holds is all there is, and no more than it may."""

from bisect import bisect_right
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from madsci_event_server.recent import RecentEvents
from madsci_event_server.storage.base import StoredEvent

MAX_EVENTS = 7
MAX_BYTES = 100

COMMITS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 0, 1, 5]),  # places that another server took before it
        st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 3]), st.integers(1, 40)), min_size=1, max_size=5),
    ),
    max_size=12,
)
"""Of each commit the places left out before it; of each of its events how far back it began, and its size."""


@given(COMMITS)
def test_what_is_held_is_a_run_without_a_hole(commits: list[Any]) -> None:
    recent = RecentEvents("store", 10, max_events=MAX_EVENTS, max_bytes=MAX_BYTES)
    everything: list[StoredEvent] = []
    again: dict[int, bool] = {}
    seq = 10
    for left_out, events in commits:
        seq += left_out
        committed = [
            StoredEvent(seq + n, seq + n - back, 0, "log", b"x" * size) for n, (back, size) in enumerate(events, 1)
        ]
        again |= {stored.seq: stored.first_seq <= seq for stored in committed}
        seq += len(committed)
        recent.add(committed)
        everything += committed

        held = [stored for stored in everything if stored.seq > recent.floor]
        assert recent.top == seq
        assert [stored.seq for stored in held] == list(range(recent.floor + 1, seq + 1))
        assert len(held) <= MAX_EVENTS
        assert sum(len(stored.body) for stored in held) <= MAX_BYTES
        assert not recent.holds(recent.floor - 1)
        assert not recent.holds(seq)
        for place in range(recent.floor, seq):
            assert recent.holds(place)
            later = held[bisect_right([stored.seq for stored in held], place) :]
            assert recent.stored_after(place) == later
            for limit in (1, 3, MAX_EVENTS):
                found = recent.after(place, limit)
                assert [one.stored for one in found] == later[:limit]
                assert [b"event: raised" in one.message for one in found] == [again[one.seq] for one in later[:limit]]
