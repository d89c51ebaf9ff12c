"""com.atproto.sync.subscribeRepos: the firehose of the accounts that this listener shows, over a websocket.

Cursor rules (https://atproto.com/specs/event-stream): none = live; 0 = the whole window; in the window = events above
it (exclusive, as the reference: "last known event seq"); older than the window = `#info` OutdatedCursor, then the whole
window; in the future = error FutureCursor and close. A subscriber that had caught up and falls behind the hub's ring is
told ConsumerTooSlow and closed; one that is still catching up is not. An extension: `shard=i/n` sends only the accounts
whose xxh64(did) leaves i when divided by n, under the same seqs. Does not own frames (`ingest`) nor their distribution
(`api/firehose.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from api.errors import unavailable
from api.firehose import CHUNK_BYTES, PAGE, FirehoseHub, Shard
from api.metrics import HttpMetrics
from api.outlet import Outlet
from api.xrpc import Ctx, Endpoint
from ingest.relay.directory import RELAY_SERVER
from ingest.repo.frame import error_frame, info_frame

_PING_SECONDS = 30.0
_SEND_SECONDS = 60.0  # a subscriber whose socket takes nothing for this long is cut
_FIRST_PAGE = 32  # events; the next one is twice as many, unless they were large
SUBSCRIBERS_MAX = 1_000


class Wanted(NamedTuple):
    """What a subscriber asked for."""

    cursor: int | None
    shard: Shard | None


async def handle(ctx: Ctx) -> web.StreamResponse:
    request = ctx.request
    assert request is not None, "a subscription is served to an HTTP request"
    socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False, max_msg_size=64 * 1024)
    if not socket.can_prepare(request).ok:
        return web.Response(status=426, text="subscribeRepos speaks WebSocket", headers={"Upgrade": "websocket"})
    shard = request.query.get("shard")
    wanted = Wanted(ctx.params.get("cursor"), None if shard is None else Shard.parse(shard))
    hub = ctx.services.firehose
    if hub.subscribers >= SUBSCRIBERS_MAX:
        raise unavailable(f"{SUBSCRIBERS_MAX} subscribers already; try again later")
    if hasattr(ctx.services, "relay"):
        socket.headers["Server"] = RELAY_SERVER
    if hub.server is not None:
        socket.headers["Server"] = hub.server
    await socket.prepare(request)
    metrics = ctx.services.metrics
    sender = asyncio.ensure_future(_send(socket, Outlet(request), hub, wanted, metrics))
    listener = asyncio.ensure_future(_until_closed(socket))
    metrics.subscribers.inc()
    try:
        await asyncio.wait((sender, listener), return_when=asyncio.FIRST_COMPLETED)
    finally:
        metrics.subscribers.dec()
        for task in (sender, listener):
            task.cancel()
        done = await asyncio.gather(sender, listener, return_exceptions=True)
    if isinstance(done[0], Exception) and not isinstance(done[0], ConnectionError):
        raise done[0]
    return socket


async def _send(
    socket: web.WebSocketResponse, outlet: Outlet, hub: FirehoseHub, wanted: Wanted, metrics: HttpMetrics
) -> None:
    """Send until the subscriber must be cut. That is counted first: closing lets the listener end, and so this."""
    oldest, newest, _ = hub.bounds()
    after = newest if wanted.cursor is None else wanted.cursor
    if after > newest:
        metrics.subscribers_cut.labels("future_cursor").inc()
        await socket.send_bytes(error_frame("FutureCursor", "Cursor in the future."))
        await socket.close(code=WSCloseCode.POLICY_VIOLATION)
        return
    # With nothing kept (oldest 0) the window begins behind the newest.
    if 0 < after < (oldest or newest + 1) - 1:
        message = "Requested cursor exceeded limit. Possibly missing events"
        await socket.send_bytes(info_frame("OutdatedCursor", message))
    caught_up = False
    page = _FIRST_PAGE
    with hub.subscription():
        while not hub.closed:
            try:
                if hub.is_live(after):
                    chunk = await hub.live(after, wanted.shard)
                    # Passed over while it waited: it was as fast as can be, and goes on from the log.
                    caught_up = hub.is_live(after) and (caught_up or chunk.reached >= hub.newest)
                elif caught_up:
                    await _cut(socket, metrics, "too_slow")
                    return
                else:
                    chunk = await hub.past(after, page, wanted.shard)
                    page = max(1, page // 2) if len(chunk.wire) > CHUNK_BYTES else min(page * 2, PAGE)
                after = chunk.reached
                if chunk.wire:
                    await outlet.write(chunk.wire, _SEND_SECONDS)
            except TimeoutError:
                await _cut(socket, metrics, "stalled")
                return
            metrics.frames.inc(chunk.frames)
    metrics.subscribers_cut.labels("shutdown").inc()
    await socket.close(code=WSCloseCode.GOING_AWAY)


async def _cut(socket: web.WebSocketResponse, metrics: HttpMetrics, reason: str) -> None:
    metrics.subscribers_cut.labels(reason).inc()
    message = "The subscriber did not keep up with the stream"
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(5):
            await socket.send_bytes(error_frame("ConsumerTooSlow", message))
            await socket.close(code=WSCloseCode.POLICY_VIOLATION)


async def _until_closed(socket: web.WebSocketResponse) -> None:
    """Read what the subscriber sends (nothing is expected), so that pongs and its close are seen."""
    while True:
        message = await socket.receive()
        if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return


ENDPOINT = Endpoint("com.atproto.sync.subscribeRepos", handle)
