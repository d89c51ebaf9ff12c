"""Which requests wait for their turn together, and what those are told that are turned away.

A query waits before anything of it is looked at, a procedure when its input is there; subscriptions, health and
metrics never do. A read is given up while it waits, and not later: what it waits for afterwards is shared with others
(flights of caches, one read of a timeline for all who ask), and a write is done whole or not at all.
Does not own how they wait (`api/gate.py`) nor what passes (`api/dispatch.py`).
"""

from __future__ import annotations

from aiohttp import web

from api.errors import unavailable
from api.gate import Gate, Limits, ShedError
from api.metrics import HttpMetrics
from api.xrpc import Ctx
from schemas.lexicon import Method

KINDS = ("views", "records", "writes", "accounts", "transfers")
"""Requests that wait for the same things, so that none of a slower kind take the places of the others."""

_BULKY = frozenset({"com.atproto.repo.uploadBlob", "com.atproto.repo.importRepo"})
_TRANSFERS = 8  # times as many as of other kinds at once: they wait for their clients
_RETRY_AFTER = "1"  # seconds


def kind_of(lexicon: Method) -> str:
    """One of KINDS."""
    nsid = lexicon.nsid
    if nsid.startswith("com.atproto.sync.") or nsid in _BULKY:
        return "transfers"
    if nsid.startswith("com.atproto.repo."):
        return "writes" if lexicon.kind == "procedure" else "records"
    return "accounts" if nsid.startswith("com.atproto.") else "views"


class Entrance:
    """Of one kind: `try_enter`, or `wait`; who has entered leaves by `leave`."""

    def __init__(self, kind: str, limits: Limits, metrics: HttpMetrics) -> None:
        places = limits.at_once * (_TRANSFERS if kind == "transfers" else 1)
        self._gate = gate = Gate(limits._replace(at_once=places))
        self._shed = {reason: metrics.shed.labels(kind, reason) for reason in ("full", "late", "left")}
        self.try_enter, self.leave = gate.try_enter, gate.leave
        metrics.waiting.labels(kind).set_function(lambda: gate.waiting)

    async def wait(self, ctx: Ctx, request: web.BaseRequest) -> bool:
        """True when it has entered. Raises XrpcError 503; ConnectionError when nobody would read the answer."""
        try:
            await self._gate.enter(lambda: request.transport is not None)
        except ShedError as shed:
            self._shed[shed.reason].inc()
            if shed.reason == "left":
                raise ConnectionResetError("the client left while it waited") from None
            ctx.set_header("Retry-After", _RETRY_AFTER)
            raise unavailable("The server has more requests than it can answer in time; try again") from None
        return True
