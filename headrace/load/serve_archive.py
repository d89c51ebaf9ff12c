"""An archive played as a host: subscribeRepos, what a crawler asks of a PDS, and the did:plc directory of its accounts.

Events are due by one clock that starts with `play` (the first subscriber calls it): at N times their recorded time, at
a fixed rate, or at once. A subscriber gets what is due behind its cursor, then each event when it is due. In a loop the
archive is played again with seqs that go on rising; its revs do not, so only those who do not verify want loops.
Does not own the archive (`archive/reader.py`), what of it is due (`played.py`, `pace.py`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from socket import socket
from typing import Any, Self

from aiohttp import web

from headrace.listeners import address, bind, listen
from headrace.load.archive.reader import Archive
from headrace.load.pace import Pace, flat_out
from headrace.load.played import Played
from ingest.identity.did_doc import parse
from ingest.repo.frame import error_frame, info_frame, split_frame
from ingest.repo.reasons import MissingBlock
from schemas.entries import cbor_uint
from schemas.errors import Refused
from schemas.syntax import Did

_READ_AHEAD = 256  # events read from the archive in one go
_TICK = 0.05  # seconds: how often the clock is looked at
_PAGE = 500  # accounts of one listRepos


class ArchiveHost:
    """Use as an async context; `url` is the host and the directory. `rename` puts `url` into documents as their PDS."""

    def __init__(
        self,
        directory: Path,
        pace: Pace = flat_out,
        *,
        port: int = 0,
        loops: int | None = 1,
        rename: bool = True,
        whole: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`loops` None goes on for ever; `whole`: all, not what comes now, for who has no cursor. Raises Refused."""
        self.archive = Archive(directory)
        self.url = ""
        self.sent = 0
        """Frames given to subscribers, all together."""
        self.ended = asyncio.Event()
        """A subscriber has been given the last event."""
        self._pace = pace
        self._port = port
        self._loops = loops
        self._rename = rename
        self._whole = whole
        self._clock = clock
        self._started: float | None = None
        self._played = Played(self.archive)
        self._first_seq, self._last_seq = self._played.seqs
        self._span = self._last_seq - self._first_seq + 1
        self._heads: dict[str, tuple[str, str]] | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        sync = "/xrpc/com.atproto.sync."
        app.router.add_get(f"{sync}subscribeRepos", self._subscribe)
        app.router.add_get(f"{sync}listRepos", self._list_repos)
        app.router.add_get(f"{sync}getRepo", self._get_repo)
        app.router.add_get(f"{sync}getLatestCommit", self._latest)
        app.router.add_get(f"{sync}getRepoStatus", self._status)
        app.router.add_get("/xrpc/com.atproto.server.describeServer", self._describe)
        app.router.add_get("/xrpc/_health", self._health)
        app.router.add_get("/{did:did:[^/]+}", self._document)
        app.router.add_get("/{did:did:[^/]+}/log", self._log)
        self._socket: socket = bind("127.0.0.1", self._port, "port")
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        try:
            await listen(self._runner, self._socket)
        except BaseException:
            await self.__aexit__()
            raise
        self.url = address(self._socket)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        self._socket.close()

    def play(self) -> None:
        """Start the clock, if it does not run."""
        if self._started is None:
            self._started = self._clock()

    @property
    def events(self) -> int:
        """Events of one loop."""
        return self._played.length

    # --- the stream ---

    async def _subscribe(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=False, heartbeat=30.0)
        await ws.prepare(request)
        self.play()
        cursor = _cursor(request)
        last = self._last_seq + (10**12 if self._loops is None else self._span * (self._loops - 1))
        if cursor is not None and cursor > last:
            await ws.send_bytes(error_frame("FutureCursor", f"cursor {cursor} is ahead of {last}"))
            await ws.close()
            return ws
        if cursor is not None and 0 < cursor < self._first_seq - 1:
            await ws.send_bytes(info_frame("OutdatedCursor", f"the archive begins with {self._first_seq}"))
        closing = asyncio.ensure_future(_drained(ws))
        sending = asyncio.ensure_future(self._send(ws, cursor))
        try:
            await asyncio.wait((closing, sending), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
                await asyncio.wait((closing,))  # a host that has no more to say stays
        except ConnectionError:
            return ws  # it has gone
        finally:
            for task in (closing, sending):
                task.cancel()
            await asyncio.gather(closing, sending, return_exceptions=True)
        return ws

    async def _send(self, ws: web.WebSocketResponse, cursor: int | None) -> None:
        assert self._started is not None
        from_now = cursor is None and not self._whole and self._pace is not flat_out
        joined = self._clock() - self._started if from_now else 0.0
        events = self._events(-1 if cursor is None else cursor)
        while batch := await asyncio.to_thread(_some, events):
            for number, at, frame in batch:
                if self._pace(number, at) < joined:
                    continue  # without a cursor a subscriber begins with what comes now
                # A pace may change its mind while we wait: a run says late when its load begins.
                while (wait := self._started + self._pace(number, at) - self._clock()) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(min(wait, _TICK))
                await ws.send_bytes(frame)
                self.sent += 1
        self.ended.set()

    def _events(self, after: int) -> Iterator[tuple[int, int, bytes]]:
        """Number, recorded time and frame of what follows a seq, loop by loop."""
        loop = max(0, (after - self._first_seq) // self._span) if after >= self._first_seq else 0
        while self._loops is None or loop < self._loops:
            shift = loop * self._span
            later = loop * self._played.span
            any_played = False
            for number, item in self._played.items(after - shift):
                any_played = True
                frame = item.data if not shift else _renumbered(item.data, item.seq + shift)
                yield loop * self._played.length + number, item.time + later, frame
            if not any_played and after - shift < self._first_seq:
                return  # nothing that is a frame is in it
            loop += 1

    # --- what a crawler asks ---

    async def _describe(self, _request: web.Request) -> web.Response:
        host = self.url.removeprefix("http://").partition(":")[0]
        return web.json_response({"did": f"did:web:{host}", "availableUserDomains": [], "inviteCodeRequired": True})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"version": "headrace load"})

    async def _list_repos(self, request: web.Request) -> web.Response:
        if self._heads is None:  # once: a crawler asks page after page
            self._heads = await asyncio.to_thread(self._played.heads, self._is_due)
        dids = sorted(self._heads)
        start, limit = _number(request, "cursor", 0), min(_number(request, "limit", _PAGE), _PAGE)
        repos = [
            {"did": did, "head": head, "rev": rev, "active": True}
            for did in dids[start : start + limit]
            for head, rev in (self._heads[did],)
        ]
        more = {"cursor": str(start + limit)} if start + limit < len(dids) else {}
        return web.json_response({"repos": repos, **more})

    def _is_due(self, number: int, at: int) -> bool:
        return self._started is None or self._started + self._pace(number, at) <= self._clock()

    async def _latest(self, request: web.Request) -> web.Response:
        signed = await asyncio.to_thread(self._played.head, self._is_due, Did(request.query.get("did", "")))
        return _absent() if signed is None else web.json_response({"cid": str(signed.cid), "rev": signed.rev})

    async def _status(self, request: web.Request) -> web.Response:
        did = Did(request.query.get("did", ""))
        signed = await asyncio.to_thread(self._played.head, self._is_due, did)
        return _absent() if signed is None else web.json_response({"did": did, "active": True, "rev": signed.rev})

    async def _get_repo(self, request: web.Request) -> web.Response:
        try:
            car = await asyncio.to_thread(self._played.repo, self._is_due, Did(request.query.get("did", "")))
        except (MissingBlock, Refused):
            car = None
        return _absent() if car is None else web.Response(body=car, content_type="application/vnd.ipld.car")

    # --- the directory ---

    async def _document(self, request: web.Request) -> web.Response:
        document = await asyncio.to_thread(self.document, Did(request.match_info["did"]))
        if document is None:
            return web.json_response({"message": f"DID not registered: {request.match_info['did']}"}, status=404)
        return web.json_response(document, content_type="application/did+ld+json")

    def document(self, did: Did) -> dict[str, Any] | None:
        """The newest document of an account, with this host for its PDS if `rename` says so."""
        found = self.archive.documents(did)
        if not found:
            return None
        document: dict[str, Any] = found[-1][1]
        if self._rename and parse(did, document).pds != self.url:
            others = [each for each in document.get("service", []) if each.get("id") not in _pds_ids(did)]
            mine = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": self.url}
            document = {**document, "service": [mine, *others]}
        return document

    async def _log(self, request: web.Request) -> web.Response:
        found = await asyncio.to_thread(self.archive.operations, request.match_info["did"])
        if not found:
            return web.json_response({"message": f"DID not registered: {request.match_info['did']}"}, status=404)
        return web.json_response(found)


def _pds_ids(did: str) -> tuple[str, str]:
    return "#atproto_pds", f"{did}#atproto_pds"


def _absent() -> web.Response:
    return web.json_response({"error": "RepoNotFound", "message": "not in the archive, or not whole"}, status=400)


def _cursor(request: web.Request) -> int | None:
    text = request.query.get("cursor", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


def _renumbered(frame: bytes, seq: int) -> bytes:
    try:
        head, _, tail = split_frame(frame)
    except Refused:
        return frame
    return head + cbor_uint(seq) + tail


def _some(events: Iterator[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    return list(islice(events, _READ_AHEAD))


async def _drained(ws: web.WebSocketResponse) -> None:
    """Returns when the subscriber has closed."""
    async for _ in ws:
        pass
