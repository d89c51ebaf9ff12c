"""From a set of parts to a process: serve until told to stop or until a part fails, and end with the code that says so.

Does not own what the parts are (`headrace/wiring*.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
import uvloop

from headrace import client, collector
from headrace.listeners import BindError
from headrace.running import Running
from schemas.errors import InvariantError

_log = structlog.get_logger()

_DONE, _FAILED, _USAGE = 0, 1, 2

Open = Callable[[], Awaitable[Running]]
Announce = Callable[[dict[str, str]], None]


def run(opening: Open, announce: Announce, directory: Path | None) -> int:
    """The exit code. Addresses are left in `directory`, if any, for as long as the process serves.

    Raises LockedError when another process has the directory, DirectoryError, SettingsError.
    """
    try:
        return uvloop.run(_serve(opening, announce, directory))
    except BindError as error:
        sys.stderr.write(f"headrace: {error}\n")
        return _USAGE
    except InvariantError as error:
        _log.critical("stopped", cause=str(error))
        return _FAILED


async def _serve(opening: Open, announce: Announce, directory: Path | None) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    running = await _until(stop, opening)
    if running is None:
        return _DONE
    try:
        collector.calm()
        running.keep(collector.keep(), "collector")
        if directory is not None:
            client.write_addresses(directory, {"pid": os.getpid(), **running.addresses})
        announce(running.addresses)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        stopping = asyncio.ensure_future(stop.wait())
        failing = asyncio.ensure_future(running.failed())
        await asyncio.wait((stopping, failing), return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, failing):
            task.cancel()
        if not stop.is_set():
            _log.critical("a part stopped by itself", exc_info=failing.result())
            return _FAILED
        return _DONE
    finally:
        if directory is not None:
            client.forget_addresses(directory)
        with contextlib.suppress(OSError):
            sys.stderr.write("headrace: stopping\n")
        await running.close()


async def _until(stop: asyncio.Event, opening: Open) -> Running | None:
    """What opens, or None when the process was told to stop first: starting may wait for a broker."""
    opened = asyncio.ensure_future(opening())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((opened, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if opened.done():
        return opened.result()
    opened.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await (await opened).close()  # it was done after all
    return None
