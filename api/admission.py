"""Which requests wait for their turn together, and what those are told that are turned away.

A query waits before anything of it is looked at, a procedure when its input is there; subscriptions, health and
metrics never do. A read is given up while it waits, and not later: what it waits for afterwards is shared with others
(flights of caches, one read of a timeline for all who ask), and a write is done whole or not at all.
Who would be turned away at once is, before anything of the request is made or looked at, with bytes that are ready.
Does not own how they wait (`api/gate.py`) nor what passes (`api/dispatch.py`).
"""

from __future__ import annotations

import orjson
from aiohttp import web
from aiohttp.http import HttpVersion11

from api.errors import unavailable
from api.gate import REASONS, Gate, Limits, ShedError
from api.metrics import HttpMetrics
from api.xrpc import Ctx
from schemas.lexicon import Method

KINDS = ("views", "records", "writes", "accounts", "transfers")
"""Requests that wait for the same things, so that none of a slower kind take the places of the others."""

_BULKY = frozenset({"com.atproto.repo.uploadBlob", "com.atproto.repo.importRepo"})
_TRANSFERS = 8  # times as many as of other kinds at once: they wait for their clients
_RETRY_AFTER = "1"  # seconds
_TOO_MANY = "The server has more requests than it can answer in time; try again"


def kind_of(lexicon: Method) -> str:
    """One of KINDS."""
    nsid = lexicon.nsid
    if nsid.startswith("com.atproto.sync.") or nsid in _BULKY:
        return "transfers"
    if nsid.startswith("com.atproto.repo."):
        return "writes" if lexicon.kind == "procedure" else "records"
    return "accounts" if nsid.startswith("com.atproto.") else "views"


def _whole_answer() -> bytes:
    body = orjson.dumps({"error": "NotEnoughResources", "message": _TOO_MANY})
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json; charset=utf-8",
        "Access-Control-Allow-Origin: *",
        f"Retry-After: {_RETRY_AFTER}",
        f"Content-Length: {len(body)}",
        "",
        "",
    )
    return "\r\n".join(head).encode() + body


class Refusal(web.StreamResponse):
    """503, as bytes that are the same for all: a server with too much to do does not make headers. Keeps connections.

    It has no Date: RFC 9110 (6.6.1) lets a 5xx go without.
    """

    _BYTES = _whole_answer()

    def __init__(self) -> None:
        """Makes none of what an answer holds: aiohttp asks one that it sends for what is below, and no more."""

    @property
    def status(self) -> int:
        return 503

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        transport.write(self._BYTES)

    async def write_eof(self, data: bytes = b"") -> None:
        """All has been written."""


class Entrance:
    """Of one kind: `try_enter`, or `wait`; who has entered leaves by `leave`."""

    def __init__(self, kind: str, limits: Limits, metrics: HttpMetrics) -> None:
        places = limits.at_once * (_TRANSFERS if kind == "transfers" else 1)
        self._gate = gate = Gate(limits._replace(at_once=places))
        self._shed = {reason: metrics.shed.labels(kind, reason) for reason in REASONS}
        self.try_enter, self.leave = gate.try_enter, gate.leave
        metrics.waiting.labels(kind).set_function(lambda: gate.waiting)
        metrics.waiting_limit.labels(kind).set(limits.waiting)

    async def wait(self, ctx: Ctx, request: web.BaseRequest) -> bool:
        """True when it has entered. Raises XrpcError 503; ConnectionError when nobody would read the answer."""
        try:
            await self._gate.enter(lambda: request.transport is not None)
        except ShedError as shed:
            self._shed[shed.reason].inc()
            if shed.reason == "left":
                raise ConnectionResetError("the client left while it waited") from None
            ctx.set_header("Retry-After", _RETRY_AFTER)
            raise unavailable(_TOO_MANY) from None
        return True

    def refusal(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """The answer when nobody more may wait, and the request is all there and wants nothing unusual. HOT."""
        if not self._gate.is_full or request.version != HttpVersion11 or not request.keep_alive:
            return None
        # What is still to be read would be taken for the next request.
        if request.method == "HEAD" or not request.content.is_eof():
            return None
        # Who asks on and reads no answers is answered the slow way, which waits until they are taken.
        if request.transport is None or request.transport.get_write_buffer_size():
            return None
        self._shed["full"].inc()
        return Refusal()
