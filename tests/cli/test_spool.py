"""Events on disk: in order, within their bound, and there for whoever comes after a death."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madsci_event_cli.sending.lanes import Lane, OwnLane, lanes_in
from madsci_event_cli.spool import Loss, SetAside, Spool, WhenFull, directory_for

SERVER = "http://localhost:8001"
MakeSpool = Callable[..., Spool]


def describe(loss: Loss) -> bytes:
    return f"lost {loss.events} {loss.reason}\n".encode()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def make_spool(tmp_path: Path, warnings: list[str]) -> Iterator[MakeSpool]:
    made = []

    def make(max_bytes: int = 1 << 30, when_full: WhenFull = "refuse", directory: Path = tmp_path / "spool") -> Spool:
        spool = Spool(
            directory, SERVER, max_bytes=max_bytes, when_full=when_full, describe=describe, warn=warnings.append
        )
        made.append(spool)
        return spool

    yield make
    for spool in made:
        spool.abandon()


def taken(spool: Spool, limit: int = 1 << 20) -> list[bytes]:
    """All that waits, read and acknowledged batch by batch."""
    found = []
    for source in spool.sources():
        while lines := source.read(limit):
            found += lines.splitlines()
            source.acknowledge(lines)
        source.finish()
    return found


def numbered(count: int) -> list[bytes]:
    return [f'{{"n":{n}}}'.encode() for n in range(count)]


def die(spool: Spool) -> None:
    """As far as the disk can tell: descriptors closed, locks free, files as they are."""
    spool.abandon()


@pytest.mark.parametrize("limit", [1, 20, 1000, 1 << 20])
def test_lines_come_back_whole_and_in_order(make_spool: MakeSpool, limit: int) -> None:
    spool = make_spool()
    for line in numbered(500):
        spool.append(line + b"\n")

    assert taken(spool, limit) == numbered(500)
    assert (spool.pending_bytes, spool.pending_events) == (0, 0)


def test_a_long_line_is_read_whole(make_spool: MakeSpool) -> None:
    spool = make_spool()
    lines = [b"a" * 300_000, b"b", b"c" * 1_000_000]
    for line in lines:
        spool.append(line + b"\n")

    assert taken(spool, 10) == lines


def test_what_is_not_acknowledged_is_read_again(make_spool: MakeSpool) -> None:
    spool = make_spool()
    spool.append(b"one\n")
    [source] = spool.sources()

    assert source.read(100) == source.read(100) == b"one\n"


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 3000), max_size=60),
    reads=st.lists(st.tuples(st.integers(1, 5000), st.booleans()), max_size=30),
)
def test_any_appending_and_reading_ends_with_every_line_once(
    sizes: list[int], reads: list[tuple[int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Small segments, so that rotation falls everywhere."""
    spool = Spool(tmp_path_factory.mktemp("s"), SERVER, max_bytes=32 * 4096, describe=describe, warn=print)
    lines = [b"%d:" % number + b"x" * size for number, size in enumerate(sizes)]
    waiting, found = list(lines), list[bytes]()
    for limit, acknowledge in reads:
        for line in waiting[:4]:
            assert spool.append(line + b"\n")
        del waiting[:4]
        [source] = spool.sources()
        got = source.read(limit)
        if acknowledge and got:
            source.acknowledge(got)
            found += got.splitlines()
    for line in waiting:
        assert spool.append(line + b"\n")

    assert found + taken(spool) == lines
    spool.tidy()


def test_segments_that_are_acknowledged_leave_the_disk(make_spool: MakeSpool, tmp_path: Path) -> None:
    spool = make_spool(max_bytes=100_000)
    for line in numbered(5000):
        spool.append(line + b"\n")
    before = len(list((tmp_path / "spool").glob("*.jsonl")))
    taken(spool)

    assert before > 3
    assert len(list((tmp_path / "spool").glob("*.jsonl"))) == 1
    spool.tidy()
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["server.url"]


def test_many_threads_append_at_once(make_spool: MakeSpool) -> None:
    spool = make_spool(max_bytes=1_000_000)

    def append(thread: int) -> None:
        for n in range(500):
            assert spool.append(b"%d %d\n" % (thread, n))

    threads = [threading.Thread(target=append, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    found: list[bytes] = []
    while len(found) < 4000:
        found += taken(spool)
    for thread in threads:
        thread.join()

    for n in range(8):
        own = [line for line in found if line.startswith(b"%d " % n)]
        assert own == [b"%d %d" % (n, place) for place in range(500)]


def test_the_dead_are_taken_over_where_they_stopped(make_spool: MakeSpool, tmp_path: Path) -> None:
    first = make_spool()
    for line in numbered(10):
        first.append(line + b"\n")
    [source] = first.sources()
    source.read(1000)
    source.acknowledge(b"".join(line + b"\n" for line in numbered(4)))
    die(first)
    second = make_spool()
    second.append(b"new\n")
    second.adopt_dead()

    assert second.pending_events == 7
    assert taken(second) == [b"new", *numbered(10)[4:]]
    assert len(lanes_in(tmp_path / "spool")) == 1


def test_the_living_are_left_alone(make_spool: MakeSpool) -> None:
    first, second = make_spool(), make_spool()
    first.append(b"mine\n")
    second.adopt_dead()

    assert not second.has_adopted
    assert second.has_dead()


def test_only_one_takes_over(make_spool: MakeSpool) -> None:
    first, second, third = make_spool(), make_spool(), make_spool()
    first.append(b"one\n")
    die(first)
    second.adopt_dead()
    third.adopt_dead()

    assert (second.has_adopted, third.has_adopted) == (True, False)


def test_the_end_that_a_dying_process_left_comes_alone(make_spool: MakeSpool, tmp_path: Path) -> None:
    first = make_spool()
    first.append(b"whole\n")
    die(first)
    [segment] = (tmp_path / "spool").glob("*.jsonl")
    segment.write_bytes(b"whole\nhal")
    second = make_spool()
    second.adopt_dead()
    source = second.sources()[1]

    whole = source.read(100)
    source.acknowledge(whole)
    assert (whole, source.read(100)) == (b"whole\n", b"hal")


@pytest.mark.parametrize("place", ["", "1", "1 999999", "9 0", "x y", "1 3 7"])
def test_a_damaged_place_means_sending_again(make_spool: MakeSpool, tmp_path: Path, place: str) -> None:
    """What the server has already it will not store twice; what it has not must not be skipped."""
    first = make_spool()
    first.append(b"one\n")
    first.append(b"two\n")
    die(first)
    [segment] = (tmp_path / "spool").glob("*.jsonl")
    lane = segment.name.split(".")[0]
    (tmp_path / "spool" / f"{lane}.ack").write_text(place)
    second = make_spool()
    second.adopt_dead()
    expected = {"1 999999": [], "9 0": []}.get(place, [b"one", b"two"])

    assert taken(second) == expected


def test_when_full_new_events_are_refused_counted_and_said(make_spool: MakeSpool, warnings: list[str]) -> None:
    spool = make_spool(max_bytes=1000)
    kept = [spool.append(line + b"\n") for line in numbered(200)]
    refused = kept.count(False)
    taken_before = taken(spool)
    spool.append(b"later\n")

    assert kept == sorted(kept, reverse=True)
    assert spool.lost == refused > 0
    assert taken_before == [*numbered(kept.count(True)), b"lost 0 the spool was full"]
    assert taken(spool) == [b"later", b"lost %d the spool was full" % refused]
    assert len(warnings) == 1
    assert "new events are not kept" in warnings[0]


def test_the_oldest_give_way_where_that_is_wanted(make_spool: MakeSpool) -> None:
    spool = make_spool(max_bytes=40_000, when_full="drop_oldest")
    lines = [b"%06d" % n + b"x" * 94 for n in range(2000)]
    for line in lines:
        assert spool.append(line + b"\n")
    pending = spool.pending_bytes
    found = taken(spool)
    kept = [line for line in found if not line.startswith(b"lost")]
    told = [int(line.split()[1]) for line in found if line.startswith(b"lost")]

    assert pending < 50_000
    assert kept[-1] == lines[-1]
    assert kept == sorted(kept)
    assert 2000 - len(kept) == spool.lost > 0
    assert told[-1] == spool.lost


def test_a_disk_that_refuses_costs_nothing_while_the_process_lives(
    make_spool: MakeSpool, tmp_path: Path, warnings: list[str]
) -> None:
    """A file where the directory should be: as good as a read-only disk, for root too."""
    (tmp_path / "spool").write_text("in the way")
    spool = make_spool()
    for line in numbered(3):
        assert spool.append(line + b"\n")
    assert "events wait in memory" in warnings[0]
    assert len(warnings) == 1
    (tmp_path / "spool").unlink()
    spool.append(b"more\n")
    [source] = spool.sources()
    source.read(1)

    assert len(list((tmp_path / "spool").glob("*.jsonl"))) == 1
    assert taken(spool) == [*numbered(3), b"more"]


def test_memory_is_bounded_while_the_disk_refuses(make_spool: MakeSpool, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    spool = make_spool()
    kept = [spool.append(b"x" * 100_000 + b"\n") for _ in range(100)]

    assert kept.count(True) == 83
    assert spool.lost == 17
    assert taken(spool)[83:] == [b"lost 0 the disk took no events and memory was full"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from madsci_event_cli.spool import Spool

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
spool = Spool(Path(sys.argv[1]), "http://x", describe=lambda loss: b"", warn=lambda text: print(text, file=sys.stderr))
kept = [spool.append(b"%03d" % n + b"x" * 60 + b"\\n") for n in range(40)]
print(kept.count(True))
[source] = spool.sources()
found = b""
while lines := source.read(1 << 20):
    found += lines
    source.acknowledge(lines)
assert [line[:3] for line in found.splitlines()] == [b"%03d" % n for n in range(40)], found
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits on the size of a file are POSIX's")
def test_a_write_that_goes_half_through_leaves_no_half(tmp_path: Path) -> None:
    """A disk that fills up in the middle of an event."""
    run = subprocess.run([sys.executable, "-c", FULL_DISK, tmp_path / "s"], capture_output=True, text=True, check=False)
    [segment] = (tmp_path / "s").glob("*.jsonl")

    assert (run.returncode, run.stdout) == (0, "40\n"), run.stderr
    assert "events wait in memory" in run.stderr
    assert segment.read_bytes().endswith(b"\n")


def test_files_that_someone_removes_are_lost_aloud(make_spool: MakeSpool, tmp_path: Path, warnings: list[str]) -> None:
    spool = make_spool(max_bytes=40_000)
    for line in numbered(600):
        spool.append(line + b"\n")
    for path in (tmp_path / "spool").iterdir():
        path.unlink()
    (tmp_path / "spool").rmdir()
    lost_aloud = taken(spool)
    spool.append(b"after\n")

    assert lost_aloud == []
    assert (spool.lost, spool.pending_events) == (600, 1)
    assert "600 events that waited there are lost" in warnings[0]
    assert taken(spool) == [b"after"]


def test_spools_are_the_users_own(make_spool: MakeSpool, tmp_path: Path) -> None:
    spool = make_spool()
    spool.append(b"secret\n")

    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "spool").glob("*.jsonl")} == {0}


def test_an_append_from_within_an_append_is_no_deadlock(make_spool: MakeSpool) -> None:
    """What a signal handler that logs comes to: the same thread, at any place of the call."""
    spool = make_spool(max_bytes=200_000)
    nested: list[bytes] = []

    def interrupt(frame: object, event: str, argument: object) -> None:
        if len(nested) < 300:
            nested.append(b"nested %d" % len(nested))
            sys.setprofile(None)
            assert spool.append(nested[-1] + b"\n")
            sys.setprofile(interrupt)

    sys.setprofile(interrupt)
    try:
        for line in numbered(200):
            assert spool.append(line + b"\n")
    finally:
        sys.setprofile(None)

    found = taken(spool)
    assert sorted(found) == sorted([*numbered(200), *nested])
    assert [line for line in found if line.startswith(b"{")] == numbered(200)


def test_each_server_has_a_directory_a_person_can_recognise(tmp_path: Path) -> None:
    one, two = (directory_for(url, tmp_path).name for url in ("http://lab.example:8001", "https://lab.example:8001"))

    assert one != two
    assert one.startswith("lab.example_8001-")


def test_what_is_set_aside_keeps_the_event_and_the_reason(tmp_path: Path) -> None:
    aside = SetAside(tmp_path / "s")
    aside.add(b'{"event_id":"x"}\n', "422 no")
    aside.add(b"\xffgarbage", "cut off")
    entries = [json.loads(line) for line in aside.path.read_text().splitlines()]

    assert [(entry["event"], entry["reason"]) for entry in entries] == [
        ('{"event_id":"x"}', "422 no"),
        ("\ufffdgarbage", "cut off"),
    ]


def test_set_aside_is_bounded(tmp_path: Path) -> None:
    aside = SetAside(tmp_path)
    aside.path.touch()
    os.truncate(aside.path, SetAside.MAX_BYTES)

    assert not aside.add(b"one more\n", "422")


def test_a_lane_is_only_adopted_with_its_lock(tmp_path: Path) -> None:
    lane = OwnLane(tmp_path, threading.RLock(), 4096)
    assert Lane.adopt(tmp_path, lane.name) is None
    lane.leave()
    adopted = Lane.adopt(tmp_path, lane.name)

    assert adopted is not None
    adopted.remove()
    assert Lane.adopt(tmp_path, lane.name) is None
