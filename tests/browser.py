"""A real browser, driven: headless Chromium over its DevTools protocol.

It has a new profile each time and reaches nothing but what a page asks for.
"""

import asyncio
import base64
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.processes import WAIT_SECONDS

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--remote-debugging-port=0",
)


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._session: str | None = None
        self._number = 0
        self.requested: list[str] = []
        """The address of everything the page asked for."""
        self.complaints: list[str] = []
        """Scripts' exceptions, and what the browser logs: refused by the policy, not found ..."""

    async def open(self, url: str) -> None:
        """Opens a page in this tab."""
        if self._session is None:
            target = (await self.command("Target.createTarget", url="about:blank"))["targetId"]
            attached = await self.command("Target.attachToTarget", targetId=target, flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                await self.command(f"{domain}.enable")
        await self.command("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited where it is a promise."""
        found = await self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"])
        return found["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Waits, looking at every frame, until the expression is true."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not (value := await self.evaluate(expression)):
                await self.evaluate("new Promise(done => setTimeout(done, 20))")
        return value

    async def look(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """A screen of this size, in light or dark."""
        await self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[feature])

    async def screenshot(self) -> bytes:
        """What is seen, as PNG."""
        picture = await self.command("Page.captureScreenshot", format="png")
        return base64.b64decode(picture["data"])

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._connection.send(json.dumps(message | ({"sessionId": self._session} if self._session else {})))
        while (answer := json.loads(await self._connection.recv())).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        return dict(answer["result"])

    def _note(self, message: dict[str, Any]) -> None:
        match message["method"]:
            case "Network.requestWillBeSent":
                self.requested.append(message["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A tab of a browser of its own, gone at the end."""
    command = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert command, "this test needs Chromium: on Debian, apt-get install chromium"
    process = await asyncio.create_subprocess_exec(
        command, *_FLAGS, f"--user-data-dir={folder}", stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        async with connect(await _address(process), max_size=2**26) as connection:
            yield Page(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr
    async with asyncio.timeout(WAIT_SECONDS):
        async for line in process.stderr:
            if b"DevTools listening on " in line:
                return line.decode().split("DevTools listening on ")[1].strip()
    raise AssertionError("the browser ended without an address")
