"""Tasks that run for ever end when they are told to, also when they lose the first word of it."""

import asyncio

from madsci_event_server.ending import ended


async def test_a_task_that_loses_a_cancellation_ends_all_the_same() -> None:
    lost = asyncio.Event()

    async def loses_one() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(loses_one())
    await asyncio.sleep(0)
    await ended(task)

    assert lost.is_set()
    assert task.cancelled()


async def test_what_a_task_raised_before_is_not_raised_by_its_end() -> None:
    async def fails() -> None:
        raise OSError("gone")

    task = asyncio.create_task(fails())
    await asyncio.sleep(0)

    await ended(task)

    assert isinstance(task.exception(), OSError)
