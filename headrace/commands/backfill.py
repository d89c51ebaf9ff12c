"""`headrace backfill`: all accounts of hosts, or those that are named, into the log of a directory.

The process that serves the directory does the work, and is asked through its ops listener; where none does, this
command is that process until the work is done. Does not own backfills (`ingest.relay.backfill`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from headrace import client, logs
from headrace.commands.common import (
    DONE,
    FAILED,
    IN_USE,
    REFUSED,
    USAGE,
    Config,
    Data,
    Json,
    Sets,
    fail,
    settings_of,
    show,
)
from headrace.lock import DirectoryError, LockedError
from headrace.settings import Settings, SettingsError
from schemas.errors import InvariantError

_LOOK_SECONDS = 0.5
_PIECE = 256 * 1024


def backfill(
    *targets: Annotated[str, Parameter(help="Hosts (PDSes), or DIDs; none: go on with what is under way.")],
    dids: Annotated[
        Path | None,
        Parameter(help="File of DIDs, one a line; - reads them from stdin.", allow_leading_hyphen=True),
    ] = None,
    upstream: Annotated[
        bool, Parameter(help="The hosts are relays: their accounts are fetched from their own hosts.", negative=())
    ] = False,
    trusted: Annotated[bool, Parameter(help="The hosts may have any number of accounts.", negative=())] = False,
    detach: Annotated[bool, Parameter(help="Leave it to the process that serves the directory.", negative=())] = False,
    stop: Annotated[bool, Parameter(help="Stop what is under way, and keep what is done.", negative=())] = False,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Fetch every account of a host, or those that are named, into the log, while live events flow.

    Goes on where it was when it is started again. Exit code 3 when some accounts could not be had.
    """
    settings = settings_of({"data": data}, config, sets)
    logs.configure(settings.log_level)
    named = [target for target in targets if target.startswith("did:")]
    hosts = tuple(target for target in targets if not target.startswith("did:"))
    if stop and (targets or dids):
        raise SettingsError("--stop ends all that is under way: name nothing beside it")
    work = _Work(settings, hosts, named, dids, upstream=upstream, trusted=trusted, detach=detach, stop=stop)
    try:
        views = asyncio.run(_until_told(work))
    except client.RefusedError as error:
        return fail(REFUSED, str(error))
    except DirectoryError as error:
        return fail(USAGE, str(error))
    except InvariantError as error:
        return fail(FAILED, str(error))
    except (LockedError, client.NotRunningError) as error:
        return fail(IN_USE, str(error))
    except OSError as error:
        return fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if views is None:
        return fail(FAILED, f"left as it is. Go on: headrace backfill --data {settings.data}")
    show({"backfills": views} if as_json else _summary(views), as_json=as_json)
    return _code(views)


class _Work:
    """One call of the command: asks the process that serves the directory."""

    def __init__(
        self,
        settings: Settings,
        hosts: tuple[str, ...],
        named: list[str],
        file: Path | None,
        *,
        upstream: bool,
        trusted: bool,
        detach: bool,
        stop: bool,
    ) -> None:
        self._settings = settings
        self._hosts = hosts
        self._named = named
        self._file = file
        self._upstream = upstream
        self._trusted = trusted
        self._detach = detach
        self._stop = stop

    async def run(self) -> list[dict[str, Any]]:
        from headrace.backfill_hooks import BEGIN, STOP, Begin  # noqa: PLC0415 - `headrace --help` is quick without

        if self._file is not None and str(self._file) != "-":
            await asyncio.to_thread(_check_file, self._file)
        async with serving(self._settings) as alone:
            if self._stop:
                return await self._ask(STOP, b"{}")
            views = []
            if self._hosts or self._named or self._file is not None:
                asked = Begin(self._hosts, self._upstream, self._trusted, bool(self._named or self._file))
                views = await self._ask(BEGIN, msgspec.json.encode(asked), follow=True)
            if self._detach and not alone:
                return views
            return await self._follow([view["id"] for view in views])

    async def _follow(self, ids: list[int]) -> list[dict[str, Any]]:
        from headrace.backfill_hooks import SHOW, Chosen  # noqa: PLC0415 - as above
        from headrace.commands.backfill_progress import BackfillProgress  # noqa: PLC0415 - as above

        with BackfillProgress() as progress:
            while True:
                views = await self._ask(SHOW, msgspec.json.encode(Chosen(tuple(ids))))
                ids = [view["id"] for view in views]
                progress.show(views)
                if all(view["state"] != "running" for view in views):
                    return views
                await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, hook: str, request: bytes, *, follow: bool = False) -> list[dict[str, Any]]:
        async def pieces() -> AsyncIterator[bytes]:
            yield request + b"\n"
            if follow:
                for did in self._named:
                    yield did.encode() + b"\n"
                async for piece in _read(self._file):
                    yield piece

        answer = await client.send(self._settings.data, hook, pieces(), "backfill")
        found: list[dict[str, Any]] = answer["backfills"]
        return found


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[bool]:
    """A process serves the directory: another one (False), or this one until the end (True)."""
    if client.is_running(settings.data):
        yield False
        return
    from headrace.backfilling import opened  # noqa: PLC0415 - as above

    running = await opened(settings)
    try:
        client.write_addresses(settings.data, {"pid": os.getpid(), **running.addresses})
        failing = asyncio.ensure_future(running.failed())
        me = asyncio.current_task()
        assert me is not None

        def tell(done: asyncio.Future[BaseException]) -> None:
            if not done.cancelled():
                me.cancel()

        failing.add_done_callback(tell)
        try:
            yield True
        except asyncio.CancelledError:
            if failing.done() and not failing.cancelled():
                raise InvariantError(f"a part stopped by itself: {failing.result()!r}") from None
            raise
        finally:
            failing.cancel()
    finally:
        client.forget_addresses(settings.data)
        await running.close()


async def _until_told(work: _Work) -> list[dict[str, Any]] | None:
    """None when a signal came first."""
    task = asyncio.ensure_future(work.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def _read(file: Path | None) -> AsyncIterator[bytes]:
    if file is None:
        return
    opened = sys.stdin.buffer if str(file) == "-" else await asyncio.to_thread(file.open, "rb")
    try:
        while piece := await asyncio.to_thread(opened.read, _PIECE):
            yield piece
    finally:
        if opened is not sys.stdin.buffer:
            opened.close()


def _check_file(path: Path) -> None:
    with path.open("rb") as opened:
        if not opened.read(1):
            raise client.RefusedError(f"{path}: the file is empty")


def _summary(views: list[dict[str, Any]]) -> dict[str, Any]:
    if not views:
        return {"backfills": "none is under way"}
    return {
        f"backfill {view['id']}": {
            "of": view["host"] or "accounts that were named",
            "state": view["state"],
            "accounts": view["accounts"],
            **view["became"],
            **({"failed": view["failed"]} if view["failed"] else {}),
            **({"trouble": view["trouble"]} if view["trouble"] else {}),
        }
        for view in views
    }


def _code(views: list[dict[str, Any]]) -> int:
    if any(view["failed"] or view["trouble"] for view in views):
        return REFUSED
    return DONE
