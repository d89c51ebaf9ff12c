"""How many requests of a kind are answered at once, how many wait for that and for how long: the rest is turned away.

A server that takes whatever comes answers everything late, and most of it to clients that have left. A request holds
its place until the event loop's next turn at least, so that endpoints that never wait count too: no more than
`at_once` of them run between two looks at the sockets, and what came meanwhile is seen, counted and turned away.
Does not own which requests are of a kind (`api/dispatch.py`) nor the answer (503, `api/errors.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple

Reason = Literal["full", "late", "left"]


class Limits(NamedTuple):
    """Of each kind: requests that are answered, requests that wait, and seconds that one waits at most."""

    at_once: int = 128
    waiting: int = 512
    seconds: float = 1.0


class ShedError(Exception):
    """Turned away: too many wait (`full`), it has waited too long (`late`), or its client is gone (`left`)."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason: Reason = reason


class _Waiting(NamedTuple):
    turn: asyncio.Future[bool]  # True: it may go; False: it has waited too long
    until: float  # of the loop's clock


class Gate:
    """Of one kind and one event loop. First come, first served; whoever has entered must leave."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entered = 0
        self._leaving = 0
        self._waiting: deque[_Waiting] = deque()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def entered(self) -> int:
        """Requests that are being answered: at most `at_once`."""
        return self._entered

    @property
    def waiting(self) -> int:
        """Requests that wait: at most `waiting`."""
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Enter if there is a place and nobody waits for one. HOT."""
        if self._waiting or self._entered >= self._limits.at_once:
            return False
        self._entered += 1
        return True

    async def enter(self, is_there: Callable[[], bool]) -> None:
        """Enter when it is its turn; `is_there` tells then whether the client still is. Raises ShedError."""
        if self.try_enter():
            return
        if len(self._waiting) >= self._limits.waiting:
            raise ShedError("full")
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(_Waiting(turn, loop.time() + self._limits.seconds))
        if self._alarm is None:
            self._alarm = loop.call_at(self._waiting[0].until, self._expire)
        try:
            entered = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result():
                self.leave()
            raise
        if not entered:
            raise ShedError("late")
        if not is_there():
            self.leave()
            raise ShedError("left")

    def leave(self) -> None:
        """Give the place back: to whoever waits, in the loop's next turn. HOT."""
        self._leaving += 1
        if self._leaving == 1:
            asyncio.get_running_loop().call_soon(self._pass_on)

    def _pass_on(self) -> None:
        self._entered -= self._leaving
        self._leaving = 0
        while self._waiting and self._entered < self._limits.at_once:
            turn = self._waiting.popleft().turn
            if not turn.done():  # else it has been cancelled
                self._entered += 1
                turn.set_result(True)

    def _expire(self) -> None:
        """All wait equally long: the first of them is the next to be late."""
        loop = asyncio.get_running_loop()
        self._alarm = None
        while self._waiting and (self._waiting[0].until <= loop.time() or self._waiting[0].turn.done()):
            turn = self._waiting.popleft().turn
            if not turn.done():
                turn.set_result(False)
        if self._waiting:
            self._alarm = loop.call_at(self._waiting[0].until, self._expire)
