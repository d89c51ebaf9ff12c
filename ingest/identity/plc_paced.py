"""A did:plc directory asked with care: what a `Breaker` does not admit is refused, what is over its limit waits.

So thousands of unknown accounts are no storm on a directory that is slow or failing. Says once in the log that the
directory fails, and once that it answers again. Writes pass: they are somebody's who waits, and few.
Does not own when to stop and to go on (`breaker.py`) nor HTTP (`plc_client.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog

from ingest.identity.breaker import Breaker
from ingest.identity.plc_client import PlcClient
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did

MAX_WAITING = 256
WAIT_SECONDS = 5.0

T = TypeVar("T")

_log = structlog.get_logger()


class PacedPlc:
    """PlcClient. `outcomes` counts requests by `answered`, `failed`, and `turned_away` (never sent)."""

    def __init__(self, plc: PlcClient, breaker: Breaker | None = None) -> None:
        self._plc = plc
        self.breaker = breaker or Breaker()
        self.outcomes: Counter[str] = Counter()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._failing = False

    @property
    def waiting(self) -> int:
        """Questions that wait for their turn: at most MAX_WAITING, and those that have just given up."""
        return len(self._waiting)

    async def submit(self, did: Did, op: Mapping[str, Any]) -> None:
        await self._plc.submit(did, op)

    async def document(self, did: Did) -> dict[str, Any]:
        return await self._ask(lambda: self._plc.document(did))

    async def data(self, did: Did) -> dict[str, Any]:
        return await self._ask(lambda: self._plc.data(did))

    async def last(self, did: Did) -> dict[str, Any]:
        return await self._ask(lambda: self._plc.last(did))

    async def audit(self, did: Did) -> list[dict[str, Any]]:
        return await self._ask(lambda: self._plc.audit(did))

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        breaker = self.breaker
        try:
            await self._room()
            ticket = breaker.admit()
        except IdentityRefused:
            self.outcomes["turned_away"] += 1
            raise
        try:
            found = await request()
        except IdentityRefused as refused:
            if refused.transient:
                self.outcomes["failed"] += 1
                breaker.failed(ticket, refused.retry_after)
            else:
                self.outcomes["answered"] += 1
                breaker.succeeded(ticket)
            self._tell(refused)
            raise
        except BaseException:
            breaker.let_go(ticket)
            raise
        else:
            self.outcomes["answered"] += 1
            breaker.succeeded(ticket)
            self._tell(None)
            return found
        finally:
            self._wake()

    async def _room(self) -> None:
        """Return once the breaker has room or refuses. Raises IdentityRefused(BUSY) when too many wait, or too long."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not self.breaker.has_room:
                    if len(self._waiting) >= MAX_WAITING:
                        raise IdentityRefused(IdentityReason.BUSY, f"{MAX_WAITING} wait for the did:plc directory")
                    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiting.append(turn)
                    await turn
        except TimeoutError:
            self._wake()  # the turn of one who has just left is the next one's
            detail = f"the did:plc directory is slow: no turn within {WAIT_SECONDS} s"
            raise IdentityRefused(IdentityReason.BUSY, detail) from None

    def _wake(self) -> None:
        """Let as many go on as there is room for; all of them when they would be refused."""
        breaker = self.breaker
        room = len(self._waiting) if breaker.state != "closed" else breaker.limit - breaker.under_way
        while self._waiting and room > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def _tell(self, refused: IdentityRefused | None) -> None:
        state = self.breaker.state
        if state == "open" and not self._failing:
            self._failing = True
            detail = "" if refused is None else str(refused)
            _log.warning("the did:plc directory fails: it is asked seldom until it answers", cause=detail[:200])
        elif state == "closed" and self._failing:
            self._failing = False
            _log.info("the did:plc directory answers again")
