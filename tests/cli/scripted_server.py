"""An HTTP server over a real socket that does as it is told: answers, stalls, cuts off, talks nonsense.

Unless told otherwise it takes events as ours does, and keeps what it took.
"""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def lines(self) -> list[bytes]:
        return [line for line in self.body.split(b"\n") if line]


class Reply(NamedTuple):
    status: int
    document: Any
    headers: Mapping[str, str] = MappingProxyType({})


class Raw(NamedTuple):
    """These bytes, then the end of the connection."""

    content: bytes


class Hang(NamedTuple):
    """No answer, and no end."""


class Reset(NamedTuple):
    """The end of the connection, at once and rudely."""


class DripForEver(NamedTuple):
    """An answer that begins well and never ends."""


Answer = Reply | Raw | Hang | Reset | DripForEver
Behaviour = Callable[["ScriptedServer", Request], Answer]


@dataclass
class ScriptedServer:
    """What arrived, and how to answer it. `behaviour` may be changed at any time."""

    behaviour: Behaviour
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    arrivals: list[dict[str, Any]] = field(default_factory=list)
    """Every event taken, again for each time it came."""
    _ids: set[str] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events taken, each once, in the order of their first arrival."""
        return list({event["event_id"]: event for event in reversed(self.arrivals)}.values())[::-1]

    def wait_until(self, holds: Callable[["ScriptedServer"], bool], timeout: float = 30) -> bool:
        """Waits, from request to request, until this holds."""
        with self._changed:
            return self._changed.wait_for(lambda: holds(self), timeout)

    def take(self, event: dict[str, Any]) -> bool:
        """Keeps it; whether it was new."""
        is_new = event["event_id"] not in self._ids
        self._ids.add(event["event_id"])
        self.arrivals.append(event)
        return is_new

    def answer(self, request: Request) -> Answer:
        with self._changed:
            self.requests.append(request)
            answer = self.behaviour(self, request)
            self._changed.notify_all()
            return answer


def as_ours(server: ScriptedServer, request: Request) -> Answer:
    """Takes single events and batches."""
    if (request.method, request.path) == ("POST", "/events"):
        return batch_reply(server, request, reject=lambda event: None)
    return as_madsci(server, request)


def as_madsci(server: ScriptedServer, request: Request) -> Answer:
    """Takes single events only, and answers with MADSci's key."""
    if request.path == "/events":
        return Reply(405, {"detail": "Method Not Allowed"}, {"Allow": "GET"})
    if (request.method, request.path) != ("POST", "/event"):
        return Reply(404, {"detail": "Not Found"})
    event = json.loads(request.body)
    server.take(event)
    answer = {"_id": event["event_id"]} | {name: item for name, item in event.items() if name != "event_id"}
    return Reply(200, answer)


def batch_reply(server: ScriptedServer, request: Request, reject: Callable[[dict[str, Any]], str | None]) -> Reply:
    """Judges each event for itself."""
    rejected, new = [], 0
    lines = request.lines
    for index, line in enumerate(lines):
        event = json.loads(line)
        reason = reject(event)
        if reason is not None:
            rejected.append({"index": index, "error": reason})
        else:
            new += server.take(event)
    counts = {"accepted": new, "duplicates": len(lines) - len(rejected) - new, "raised": 0, "conflicts": 0}
    return Reply(200, {**counts, "rejected": rejected})


def always(answer: Answer) -> Behaviour:
    return lambda server, request: answer


@contextmanager
def scripted_server(behaviour: Behaviour = as_ours, port: int = 0) -> Iterator[ScriptedServer]:
    """Runs it in a thread until the end of the block."""
    server = ScriptedServer(behaviour)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    finish = asyncio.Event()

    async def serve() -> None:
        listening = await asyncio.start_server(lambda r, w: _converse(server, r, w), "127.0.0.1", port, limit=2**24)
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        started.set()
        await finish.wait()
        listening.close()
        conversations = asyncio.all_tasks() - {asyncio.current_task()}
        for task in conversations:
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_until_complete(asyncio.sleep(0))  # those cancelled at the end have theirs
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(finish.set)
        thread.join(10)


async def _converse(server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while (request := await _read(reader)) is not None:
            answer = await asyncio.to_thread(server.answer, request)
            if not await _write(answer, writer):
                break
    except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        pass  # the client left, or the server ends
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, path, _ = first.split()
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, path, headers, body)


async def _write(answer: Answer, writer: asyncio.StreamWriter) -> bool:
    """Whether the conversation goes on."""
    match answer:
        case Reply(status, document, headers):
            content = json.dumps(document).encode()
            all_headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
            lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
            lines += [f"{name}: {value}" for name, value in all_headers.items()]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            await writer.drain()
            return True
        case Raw(content):
            writer.write(content)
            await writer.drain()
        case Hang():
            await asyncio.sleep(3600)  # and no Event: the loop forgets a task that waits for what nobody holds
        case Reset():
            writer.transport.abort()
        case DripForEver():
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while not writer.is_closing():
                writer.write(b" " * 65536)
                await writer.drain()
    return False
