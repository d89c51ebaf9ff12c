"""`headrace up`: start the network, say where it is, serve until told to stop.

Does not own what the network is made of (`headrace/wiring.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys

import orjson
import structlog
import uvloop

from headrace import client
from headrace.listeners import BindError
from headrace.settings import Settings
from headrace.wiring import Network
from schemas.errors import InvariantError

_log = structlog.get_logger()

_COLLECT = (100_000, 50, 100)  # net allocations of containers, then generations
_DONE, _FAILED, _USAGE = 0, 1, 2


def run(settings: Settings, *, as_json: bool) -> int:
    """The exit code. Raises LockedError when another process has the directory, DirectoryError."""
    try:
        return uvloop.run(_serve(settings, as_json=as_json))
    except BindError as error:
        sys.stderr.write(f"headrace: {error}\n")
        return _USAGE
    except InvariantError as error:
        _log.critical("stopped", cause=str(error))
        return _FAILED


async def _serve(settings: Settings, *, as_json: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    network = await Network.open(settings)
    try:
        _calm_collector()
        client.write_addresses(settings.data, {"pid": os.getpid(), **network.addresses})
        _announce(network.addresses, as_json=as_json)
        stopping = asyncio.ensure_future(stop.wait())
        failing = asyncio.ensure_future(network.failed())
        await asyncio.wait((stopping, failing), return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, failing):
            task.cancel()
        if not stop.is_set():
            _log.critical("a part stopped by itself", exc_info=failing.result())
            return _FAILED
        return _DONE
    finally:
        client.forget_addresses(settings.data)
        with contextlib.suppress(OSError):
            sys.stderr.write("headrace: stopping\n")
        await network.close()


def _calm_collector() -> None:
    """Collect cycles seldom: what is alive now lives on, and requests and entries make next to none.

    Each young collection walks the caches' newest objects; fewer of them take a tenth off a write's CPU and halve its
    p99 (`make bench`, create_record_c32).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


def _announce(addresses: dict[str, str], *, as_json: bool) -> None:
    """Progress on stderr; on stdout the addresses if asked for, then `ready`."""
    lines = (
        f"  XRPC (PDS, AppView)  {addresses['xrpc']}",
        f"  did:plc directory    {addresses['plc']}",
        f"  metrics, status      {addresses['ops']}",
    )
    sys.stderr.write("headrace: serving\n" + "\n".join(lines) + "\n")
    if as_json:
        sys.stdout.write(orjson.dumps(addresses).decode() + "\n")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
