"""A live page in headless Chromium, driven by its DevTools protocol: what it says, logs, and gives to screen readers.

Does not own pages that stand still (`browser.py`) nor the browser (`tools.py`).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import select
import signal
import subprocess
import threading
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.tools import need

_SECONDS = 240  # for a start or an answer, on a machine that does much else


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Page:
    """One tab. `complaints` are what its console and its policies said of errors, and exceptions."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        """Addresses that were asked for."""

    async def read(self) -> None:
        """Until the browser closes."""
        async for message in self._socket:
            said = message.json()
            if (number := said.get("id")) is not None:
                if not (answer := self._answers.pop(number)).done():
                    answer.set_result(said)
                continue
            method, told = said["method"], said.get("params", {})
            if method == "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(told["args"]))
            elif method == "Page.loadEventFired":
                self._loaded.set()
            elif method == "Network.requestWillBeSent":
                self.asked.add(told["request"]["url"])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(_SECONDS):
            said = await answer
        assert "result" in said, (method, said)
        return dict(said["result"])

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        await self.prefer(dark=dark)
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        async with asyncio.timeout(_SECONDS):
            await self._loaded.wait()

    async def prefer(self, *, dark: bool, still: bool = False) -> None:
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def value(self, expression: str) -> Any:
        """Of an expression of JavaScript, or of what it promises. What it raises is raised."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Its first value that is true; AssertionError with what the page shows when there is none."""
        look = f"const value = ({expression}); if (value) done(value); else setTimeout(look, 50);"
        try:
            return await self.value(f"new Promise((done) => {{ const look = () => {{ {look} }}; look(); }})")
        except TimeoutError:
            shown = await self.value("document.body.innerText")
            raise AssertionError(f"never so: {expression}; {self.complaints}; the page shows:\n{shown}") from None

    async def names(self) -> set[tuple[str, str]]:
        """Role and name of all that a screen reader is given."""
        found = await self.call("Accessibility.getFullAXTree")
        return {
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in found["nodes"]
            if not node["ignored"] and "role" in node
        }

    async def picture(self) -> bytes:
        """A PNG of the whole page."""
        found = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return b64decode(found["data"])


@contextmanager
def _running(profile: Path) -> Iterator[int]:
    """Chromium, by the port that it says; killed with its helpers, which are in its group."""
    command = [
        str(need("chromium")),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
        *(f"--user-data-dir={profile}", "about:blank"),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - nothing is locked by a test's threads at this point
    )
    rest: threading.Thread | None = None
    try:
        assert process.stderr is not None
        until, said = time.monotonic() + _SECONDS, b""
        while (found := re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", said)) is None:
            readable, _, _ = select.select([process.stderr], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(process.stderr.fileno(), 4096) if readable else b""
            assert piece, f"Chromium does not listen: {said[-2000:]!r}"
            said += piece
        rest = threading.Thread(target=process.stderr.read, daemon=True)
        rest.start()  # what else it says is in nobody's way
        yield int(found[1])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if rest is not None:
            rest.join()
        if process.stderr is not None:
            process.stderr.close()


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Page]:
    """A page of a browser with a profile of its own. Skips when this machine has no Chromium and can have none."""
    with _running(profile) as port:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tab = next(each for each in await answer.json() if each["type"] == "page")
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=64 << 20) as socket:
                page = Page(socket)
                reading = asyncio.create_task(page.read())
                try:
                    for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
                        await page.call(f"{domain}.enable")
                    yield page
                finally:
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
