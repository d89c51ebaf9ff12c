"""One host's firehose, read for as long as it lasts and opened again when it ends: a task a host.

Reading waits for the host's quotas and for room in the intake, so that a host that sends too much is slowed, not cut.
A frame that cannot be read is counted and passed over; many in a row end the connection. Reconnecting waits longer
after each failure, with jitter; a host that stays away is `offline` and looked after once an hour.
Does not own sockets (`ingest.relay.outgoing`) nor what becomes of messages (`ingest.relay.intake`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from ingest.relay.directory import HostStatus
from ingest.relay.hosts_store import HostRow
from ingest.relay.intake import Intake
from ingest.relay.quotas import Bucket, Buckets, Rate, host_rates
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Progress, Source
from ingest.repo.messages import ErrorMessage, InfoMessage
from schemas.errors import Refused

OFFLINE_AFTER = 15  # failures in a row, as the reference relay
BAD_FRAMES = 100  # in a row
IDLE_SECONDS = 300.0
_FIRST_PAUSE, _LAST_PAUSE, _OFFLINE_PAUSE = 1.0, 300.0, 3_600.0
_HELD_SECONDS = 30.0  # a connection that lasts so long was no failure
_ROOM_HOST, _ROOM_UPSTREAM = 64, 2_048
_REFRESHES = Rate(50, 60.0)  # identities a host may have asked for anew
_REFRESHES_UPSTREAM = Rate(3_000, 60.0)

_log = structlog.get_logger()


class Subscribes(Protocol):
    def subscribe(
        self, url: str, cursor: int | None, *, upstream: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]: ...


class Host(Source):
    """A host while the relay runs. `accounts` says how many were seen of it, `limit` how many may be."""

    def __init__(self, row: HostRow, *, accounts: Callable[[], int], limit: int) -> None:
        super().__init__(
            row.hostname,
            "upstream" if row.upstream else "host",
            room=_ROOM_UPSTREAM if row.upstream else _ROOM_HOST,
            refreshes=Bucket(_REFRESHES_UPSTREAM if row.upstream else _REFRESHES),
            reached=row.cursor,
        )
        self.row = row
        self.failures = 0
        self.connected = False
        self.throttled = False
        self.heard = 0.0
        """The loop's time of the newest frame."""
        self.lag_micros = 0
        self.numberings = 0
        """How often its numbers have begun anew."""
        self._accounts = accounts
        self._limit = limit
        self.buckets = Buckets(self.rates())

    @property
    def accounts(self) -> int:
        return self._accounts()

    @property
    def status(self) -> HostStatus:
        if self.row.banned:
            return "banned"
        if not self.connected:
            return "offline"
        if self.throttled:
            return "throttled"
        quiet = asyncio.get_running_loop().time() - self.heard
        return "idle" if quiet > IDLE_SECONDS else "active"

    def may_add_account(self) -> bool:
        most = self.row.limits.accounts
        if most is None:
            return self.row.trusted or self.accounts < self._limit
        return self.accounts < most

    def rates(self) -> tuple[Rate, Rate, Rate]:
        """What it may send, by what it is now."""
        second, hour, day = host_rates(self.accounts, trusted=self.row.trusted or self.row.upstream)
        given = self.row.limits
        return (
            second if given.per_second is None else Rate(given.per_second, 1),
            hour if given.per_hour is None else Rate(given.per_hour, 3_600),
            day if given.per_day is None else Rate(given.per_day, 86_400),
        )

    def start_over(self) -> None:
        """Its numbers have begun anew: from the oldest that it keeps."""
        self.numberings += 1
        self.progress = Progress(0)

    def forget_cursor(self) -> None:
        """From now on, whatever its numbers are."""
        self.numberings += 1
        self.progress = Progress()


class Subscription:
    """`run` until cancelled. `backlog`: a host without a cursor is read from the oldest that it keeps."""

    def __init__(
        self,
        host: Host,
        intake: Intake,
        outgoing: Subscribes,
        *,
        backlog: bool = True,
        first_pause: float = _FIRST_PAUSE,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._host = host
        self._intake = intake
        self._outgoing = outgoing
        self._backlog = backlog and host.kind == "host"
        self._first_pause = first_pause
        self._sleep = sleep
        self._live = False
        self._woken = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._cut = False

    def cut(self) -> None:
        """Close the connection; it is opened again after the pause of a failure."""
        if self._reading is not None:
            self._cut = True
            self._reading.cancel()

    def wake(self) -> None:
        """Connect now, however long the pause would still be."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled, or until the host shows that it is none to be read (a relay). An error of ours is raised."""
        host = self._host
        while True:
            began = asyncio.get_running_loop().time()
            self._woken.clear()
            self._cut = False
            self._reading = asyncio.get_running_loop().create_task(self._read())
            try:
                await self._reading
            except asyncio.CancelledError:
                current = asyncio.current_task()
                if not self._cut or (current is not None and current.cancelling()):
                    raise
            except Refused as refused:
                host.dropped[refused.reason.value] += 1
                if refused.reason is RelayReason.HOST_IS_RELAY:
                    _log.warning("a host is a relay and is not read", host=host.name)
                    return
                level = _log.debug if host.failures else _log.info
                level("a host's stream ended", host=host.name, why=str(refused)[:300])
            finally:
                host.connected = host.throttled = False
                self._reading = None
            held = asyncio.get_running_loop().time() - began >= _HELD_SECONDS
            host.failures = 1 if held else host.failures + 1
            try:
                async with asyncio.timeout(self._pause()):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _read(self) -> None:
        host = self._host
        async with self._outgoing.subscribe(host.row.url, self._cursor(), upstream=host.row.upstream) as frames:
            host.connected = True
            host.heard = asyncio.get_running_loop().time()
            bad = 0
            async for frame in frames:
                await self._wait_for_quota()
                host.heard = asyncio.get_running_loop().time()
                try:
                    answer = await self._intake.offer(host, frame)
                except Refused as refused:
                    if refused.reason is RelayReason.SEQ_RESET:
                        self._start_over(refused)
                        raise
                    host.refused(refused)
                    bad += 1
                    if bad >= BAD_FRAMES:
                        raise Refused(RelayReason.HOST_FRAMES, f"{bad} frames in a row cannot be read") from None
                    continue
                bad = 0
                host.failures = 0
                if isinstance(answer, ErrorMessage):
                    raise self._error(answer)
                if isinstance(answer, InfoMessage) and answer.name == "OutdatedCursor":
                    # What was missed shows as gaps in accounts' chains.
                    host.dropped[RelayReason.OUTDATED_CURSOR.value] += 1

    def _cursor(self) -> int | None:
        progress = self._host.progress
        if progress.last or progress.reached is not None:
            return progress.last
        return 0 if self._backlog and not self._live else None

    def _start_over(self, refused: Refused) -> None:
        host = self._host
        _log.warning(
            "a host's numbers have begun anew", host=host.name, reached=host.progress.last, why=str(refused)[:300]
        )
        host.start_over()

    async def _wait_for_quota(self) -> None:
        host = self._host
        while (seconds := host.buckets.take()) > 0:
            host.throttled = True
            await self._sleep(min(seconds, 60.0))
        host.throttled = False

    def _error(self, message: ErrorMessage) -> Refused:
        if message.error == "FutureCursor":
            refused = Refused(RelayReason.FUTURE_CURSOR, "its numbers are below our cursor")
            if self._host.numbering.may_restart():
                self._start_over(refused)
            else:
                self._host.forget_cursor()
                self._live = True
            return refused
        if message.error == "ConsumerTooSlow":
            return Refused(RelayReason.CONSUMER_TOO_SLOW, "it could not wait for us")
        return Refused(RelayReason.HOST_ERROR, f"error {message.error[:40]!r}")

    def _pause(self) -> float:
        failures = self._host.failures
        jitter = 0.5 + random.random()  # noqa: S311 - nothing to guess
        if failures > OFFLINE_AFTER:
            return _OFFLINE_PAUSE * jitter
        return min(_LAST_PAUSE, self._first_pause * 2.0 ** (failures - 1)) * jitter
