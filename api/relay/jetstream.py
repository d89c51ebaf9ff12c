"""`/subscribe`: the firehose as JSON lines, as Jetstream (version 1) serves them, over a websocket.

Parameters: `wantedCollections` (NSIDs, or all below one as `app.bsky.graph.*`) and `wantedDids`, both repeatable;
`cursor` in unix microseconds, inclusive, one in the future is live; `maxMessageSizeBytes` of what is sent; `compress`
for zstd with Jetstream's dictionary; `requireHello` sends nothing before the first `options_update`. A choice of
collections holds for commits, a choice of accounts for everything. A subscriber reads the log at its own pace: one that
takes nothing for a minute is cut. Source: https://github.com/bluesky-social/jetstream (README). Does not own lines
(`api/relay/jetstream_lines.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
import zstandard
from aiohttp import WSCloseCode, WSMsgType, web
from prometheus_client import CollectorRegistry, Counter, Gauge

from api.outlet import Outlet
from api.relay.jetstream_lines import JetstreamLines, Line
from api.server import problem
from schemas.errors import XrpcError
from schemas.syntax import Did, Nsid

COLLECTIONS_MAX = 100
DIDS_MAX = 10_000
SUBSCRIBERS_MAX = 1_000
UPDATE_MAX = 10_000_000  # bytes of one message of a subscriber: as many accounts as it may choose, with room
_PAGE = 64  # events
_PING_SECONDS = 30.0
_SEND_SECONDS = 60.0
_SIZE_MAX = 2**31


class JetstreamMetrics:
    """Made once a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.subscribers = Gauge("headrace_jetstream_subscribers", "Open /subscribe connections.", registry=registry)
        self.lines = Counter("headrace_jetstream_lines_total", "Lines sent to /subscribe.", registry=registry)


class Options(msgspec.Struct, frozen=True):
    """What a subscriber wants; empty: all of it."""

    collections: frozenset[str] = frozenset()
    prefixes: tuple[str, ...] = ()
    dids: frozenset[str] = frozenset()
    size: int = 0

    @classmethod
    def of(cls, collections: Iterable[str], dids: Iterable[str], size: int) -> Options:
        """Raises XrpcError, with what was expected."""
        named, accounts = frozenset(collections), frozenset(dids)
        if len(named) > COLLECTIONS_MAX:
            raise _refused(f"wantedCollections: at most {COLLECTIONS_MAX}, found {len(named)}")
        if len(accounts) > DIDS_MAX:
            raise _refused(f"wantedDids: at most {DIDS_MAX}, found {len(accounts)}")
        for name in named:
            if not Nsid.is_valid(f"{name[:-2]}.any" if name.endswith(".*") else name):
                raise _refused(f"wantedCollections: expected an NSID, or one with .* at its end, found {name[:80]!r}")
        for did in accounts:
            if not Did.is_valid(did):
                raise _refused(f"wantedDids: expected a DID, found {did[:80]!r}")
        prefixes = tuple(sorted(name[:-1] for name in named if name.endswith(".*")))
        return cls(frozenset(name for name in named if not name.endswith(".*")), prefixes, accounts, max(0, size))

    def wants(self, line: Line) -> bool:
        """HOT."""
        if self.dids and line.did not in self.dids:
            return False
        collection = line.collection
        if collection is None or not (self.collections or self.prefixes):
            return True
        return collection in self.collections or collection.startswith(self.prefixes)


class _Update(msgspec.Struct, rename="camel"):
    wanted_collections: list[str] = []
    wanted_dids: list[str] = []
    max_message_size_bytes: int = 0


class _Said(msgspec.Struct):
    type: str
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class Jetstream:
    """`dictionary` is Jetstream's zstd dictionary; without it nothing is compressed."""

    def __init__(self, lines: JetstreamLines, metrics: JetstreamMetrics, dictionary: bytes | None = None) -> None:
        self._lines = lines
        self._metrics = metrics
        self._compressor = (
            None
            if dictionary is None
            else zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(dictionary))
        )
        self._open: set[web.WebSocketResponse] = set()

    async def subscribe(self, request: web.BaseRequest) -> web.StreamResponse:
        """The handler of `/subscribe`."""
        socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False, max_msg_size=UPDATE_MAX)
        if not socket.can_prepare(request).ok:
            return web.Response(status=426, text="/subscribe speaks WebSocket", headers={"Upgrade": "websocket"})
        query = request.query
        try:
            options = Options.of(
                query.getall("wantedCollections", ()),
                query.getall("wantedDids", ()),
                _number(query.get("maxMessageSizeBytes", "0"), "maxMessageSizeBytes", _SIZE_MAX),
            )
            cursor = _number(query["cursor"], "cursor", 2**63 - 1) if query.get("cursor") else None
            packed = _true(query.get("compress")) or "zstd" in request.headers.get("Socket-Encoding", "")
            if packed and self._compressor is None:
                raise _refused("compress: this server has no dictionary; ask without it")
            if len(self._open) >= SUBSCRIBERS_MAX:
                raise XrpcError("NotEnoughResources", f"{SUBSCRIBERS_MAX} subscribers already; try again later", 503)  # noqa: TRY301
        except XrpcError as error:
            return problem(error.status, error.name or "InvalidRequest", error.message)
        await socket.prepare(request)
        subscriber = _Subscriber(socket, Outlet(request), options, self._compressor if packed else None)
        if not _true(query.get("requireHello")):
            subscriber.greeted.set()
        self._open.add(socket)
        self._metrics.subscribers.inc()
        tasks = [
            asyncio.ensure_future(self._send(subscriber, cursor)),
            asyncio.ensure_future(subscriber.listen()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._metrics.subscribers.dec()
            self._open.discard(socket)
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
        for end in done:
            if isinstance(end, Exception) and not isinstance(end, ConnectionError):
                raise end
        return socket

    async def close(self) -> None:
        """End every subscription."""
        await asyncio.gather(*(socket.close(code=WSCloseCode.GOING_AWAY) for socket in list(self._open)))

    async def _send(self, subscriber: _Subscriber, cursor: int | None) -> None:
        lines = self._lines
        after = lines.newest() if cursor is None else await lines.before(cursor)
        await subscriber.greeted.wait()
        while True:
            await lines.wait(after)
            newest = lines.newest()
            found = await lines.read(after, _PAGE)
            # With nothing there, the log has dropped what lay between: it is passed over.
            after = found[-1][0] if found else max(after, newest)
            try:
                self._metrics.lines.inc(await subscriber.tell(line for _, each in found for line in each))
            except TimeoutError:
                await subscriber.cut("took nothing for too long")
                return
            # A log that answers from memory does not wait: the others go on between two pages.
            await asyncio.sleep(0)


class _Subscriber:
    def __init__(
        self,
        socket: web.WebSocketResponse,
        outlet: Outlet,
        options: Options,
        compressor: zstandard.ZstdCompressor | None,
    ) -> None:
        self._socket = socket
        self._outlet = outlet
        self._options = options
        self._compressor = compressor
        self.greeted = asyncio.Event()

    async def tell(self, lines: Iterable[Line]) -> int:
        """Send those that are wanted, in one write; how many."""
        options, compressor = self._options, self._compressor
        wires = []
        for line in lines:
            if options.wants(line):
                wire = line.text if compressor is None else line.packed(compressor)
                if not options.size or len(wire) <= options.size + _head(len(wire)):
                    wires.append(wire)
        if wires:
            await self._outlet.write(b"".join(wires), _SEND_SECONDS)
        return len(wires)

    async def listen(self) -> None:
        """Take updates of the options until the subscriber leaves; one that is wrong ends it."""
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            try:
                said = msgspec.json.decode(message.data, type=_Said)
                if said.type != "options_update":
                    raise _refused(f"expected options_update, found {said.type[:40]!r}")
                update = msgspec.json.decode(said.payload, type=_Update)
                self._options = Options.of(
                    update.wanted_collections, update.wanted_dids, min(update.max_message_size_bytes, _SIZE_MAX)
                )
            except (msgspec.MsgspecError, UnicodeDecodeError, XrpcError) as error:
                await self.cut(error.message if isinstance(error, XrpcError) else str(error))
                return
            self.greeted.set()

    async def cut(self, why: str) -> None:
        """Close, with a word of at most the 123 bytes that a closing frame holds."""
        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=why.encode()[:123])


def _head(size: int) -> int:
    """Bytes of a websocket message of that many that are not its payload."""
    return 2 if size < 128 else 4 if size < 65_540 else 10


def _number(text: str, name: str, most: int) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and int(text) <= most):
        raise _refused(f"{name}: expected a whole number, found {text[:40]!r}")
    return max(0, int(text))


def _true(text: str | None) -> bool:
    return text is not None and text.lower() in {"true", "1", "zstd"}


def _refused(message: str) -> XrpcError:
    return XrpcError("InvalidRequest", message, 400)
