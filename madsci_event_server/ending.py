"""ended: tasks that run for ever, made to end."""

import asyncio
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.5


async def ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancels the tasks, again and again until they have ended.

    Once is not enough: before Python 3.12 `asyncio.wait_for`, by which PyMongo sends, loses a cancellation that comes
    at the moment it is done; a task that goes on for ever would then be waited for as long.
    """
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
