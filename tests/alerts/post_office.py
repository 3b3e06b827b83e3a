"""A mail server in a thread of its own, for tests whose event server is another process."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.alerts.smtp_servers import Post, a_mail_server
from tests.processes import WAIT_SECONDS


class PostOffice:
    """What it took can be waited for."""

    def __init__(self, post: Post) -> None:
        self.post = post
        self._came = threading.Condition()
        post.on_mail = self._tell

    def wait_until(self, holds: Callable[[Post], bool]) -> None:
        """Waits, from mail to mail, until this holds."""
        with self._came:
            assert self._came.wait_for(lambda: holds(self.post), WAIT_SECONDS), self.post.subjects

    def _tell(self) -> None:
        with self._came:
            self._came.notify_all()


@contextmanager
def a_post_office(*, login: bool = False) -> Iterator[PostOffice]:
    """Runs until the end of the block."""
    started, loop, end = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    offices: list[PostOffice] = []

    async def serve() -> None:
        async with a_mail_server(login=login) as post:
            offices.append(PostOffice(post))
            started.set()
            await end.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(WAIT_SECONDS)
        yield offices[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(WAIT_SECONDS)
        loop.close()
