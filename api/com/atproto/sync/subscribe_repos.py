"""com.atproto.sync.subscribeRepos: the firehose of the accounts hosted here, over a websocket.

Cursor rules (https://atproto.com/specs/event-stream): none = live; 0 = the whole window; in the window = events above
it (exclusive, as the reference: "last known event seq"); older than the window = `#info` OutdatedCursor, then the whole
window; in the future = error FutureCursor and close. A subscriber that was live and falls behind the hub's ring is
told ConsumerTooSlow and closed. Does not own frames (`ingest`) nor their distribution (`api/firehose.py`).
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import WSCloseCode, WSMsgType, web

from api.errors import unavailable
from api.firehose import FirehoseHub, TooSlowError
from api.metrics import HttpMetrics
from api.xrpc import Ctx, Endpoint
from ingest.repo.frame import error_frame, info_frame

_PING_SECONDS = 30.0
_SEND_SECONDS = 60.0  # a subscriber whose socket takes nothing for this long is cut
_BATCH = 100
SUBSCRIBERS_MAX = 1_000


async def handle(ctx: Ctx) -> web.StreamResponse:
    request = ctx.request
    assert request is not None, "a subscription is served to an HTTP request"
    socket = web.WebSocketResponse(heartbeat=_PING_SECONDS, compress=False, max_msg_size=64 * 1024)
    if not socket.can_prepare(request).ok:
        return web.Response(status=426, text="subscribeRepos speaks WebSocket", headers={"Upgrade": "websocket"})
    hub = ctx.services.firehose
    if hub.subscribers >= SUBSCRIBERS_MAX:
        raise unavailable(f"{SUBSCRIBERS_MAX} subscribers already; try again later")
    await socket.prepare(request)
    metrics = ctx.services.metrics
    sender = asyncio.ensure_future(_send(socket, hub, ctx.params.get("cursor"), metrics))
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


async def _send(socket: web.WebSocketResponse, hub: FirehoseHub, cursor: int | None, metrics: HttpMetrics) -> None:
    """Send until the subscriber must be cut. That is counted first: closing lets the listener end, and so this."""
    oldest, newest, _ = hub.bounds()
    after = newest if cursor is None else cursor
    if after > newest:
        metrics.subscribers_cut.labels("future_cursor").inc()
        await socket.send_bytes(error_frame("FutureCursor", "Cursor in the future."))
        await socket.close(code=WSCloseCode.POLICY_VIOLATION)
        return
    # With nothing kept (oldest 0) the window begins behind the newest.
    if 0 < after < (oldest or newest + 1) - 1:
        message = "Requested cursor exceeded limit. Possibly missing events"
        await socket.send_bytes(info_frame("OutdatedCursor", message))
    was_live = False
    with hub.subscription():
        while not hub.closed:
            try:
                if was_live or hub.is_live(after):
                    was_live = True
                    frames, after = await hub.live(after, _BATCH)
                else:
                    frames, after = await hub.past(after)
                async with asyncio.timeout(_SEND_SECONDS):
                    for frame in frames:
                        await socket.send_bytes(frame)
            except (TooSlowError, TimeoutError) as slow:
                reason = "too_slow" if isinstance(slow, TooSlowError) else "stalled"
                metrics.subscribers_cut.labels(reason).inc()
                await _close_slow(socket)
                return
            metrics.frames.inc(len(frames))
    metrics.subscribers_cut.labels("shutdown").inc()
    await socket.close(code=WSCloseCode.GOING_AWAY)


async def _close_slow(socket: web.WebSocketResponse) -> None:
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
