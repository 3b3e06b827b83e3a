"""Several servers on one MongoDB: one of them alerts, people act through any."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from madsci_event_server.errors import StoreUnavailable
from madsci_event_server.storage import open_store
from madsci_event_server.storage.alert_base import AlertState, Change
from tests.alerts.bench import Bench, a_bench
from tests.alerts.smtp_servers import Post


@pytest.fixture
async def benches(mongodb_url: str, lab: Path, post: Post) -> AsyncIterator[list[Bench]]:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(mongodb_url, lab_directory=lab)) for _ in range(2)]
        yield [await stack.enter_async_context(a_bench(store, post)) for store in stores]


async def test_an_event_is_counted_and_mailed_by_one_of_them(benches: list[Bench], post: Post) -> None:
    for bench in benches:
        await bench.log("Tip lost", node_name="arm")
    for _ in range(3):
        for bench in benches:
            await bench.wait(seconds=10)

    assert post.subjects == ["[lab] ERROR arm: Tip lost (x2)"]
    assert (await benches[1].alert()).count == 2


async def test_when_one_ends_another_goes_on_where_it_was(benches: list[Bench], post: Post) -> None:
    first, second = benches
    await first.log("Tip lost")
    await first.wait(minutes=1)
    await second.wait(minutes=1)
    await first.log("Arm stuck")
    await first.alerting.__aexit__(None, None, None)
    await second.wait(minutes=1)

    assert post.subjects == ["[lab] ERROR Tip lost", "[lab] ERROR Arm stuck"]


async def test_people_act_through_any(benches: list[Bench], post: Post) -> None:
    first, second = benches
    await first.log("Tip lost")
    await first.wait(minutes=1)
    await second.alerting.resolve((await second.alert()).alert_id, "ada")
    second.now = first.now
    await second.step()
    assert len(post.taken) == 1
    await first.wait(seconds=1)

    assert post.subjects[1:] == ["[lab] RESOLVED Tip lost"]
    assert (await first.alert()).state == AlertState.RESOLVED


async def test_what_two_change_at_once_is_stored_for_one(benches: list[Bench]) -> None:
    await benches[0].log()
    await benches[0].step()
    alert = await benches[1].alert()
    await benches[0].alerting.acknowledge(alert.alert_id, "ada")

    with pytest.raises(StoreUnavailable, match="do it again"):
        await benches[1].store.apply(Change(alerts=[alert.model_copy(update={"count": 7})]))
    assert (await benches[0].alert()).count == 1
