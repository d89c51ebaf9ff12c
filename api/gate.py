"""How many requests of a kind are answered at once, how many wait for that and for how long: the rest is turned away.

A server that takes whatever comes answers everything late, and most of it to clients that have left. A request holds
its place until the event loop's next turn at least, so that endpoints that never wait count too: no more than
`at_once` of them run between two looks at the sockets, and what came meanwhile is seen, counted and turned away.
Does not own who of those that wait is next or goes (`api/line.py`), which requests are of a kind (`api/dispatch.py`)
nor the answer (503, `api/admission.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal, NamedTuple

from api.line import Line

Reason = Literal["full", "late", "left"]
REASONS: tuple[Reason, ...] = ("full", "late", "left")


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


class Gate:
    """Of one kind and one event loop. Whoever has entered must leave."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._entered = 0
        self._leaving = 0
        self._line = Line[asyncio.Future[Reason | None]](limits.waiting, limits.seconds, limits.at_once)
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = 0.0  # a handle does not say it on uvloop, where what is due is no timer's

    @property
    def entered(self) -> int:
        """Requests that are being answered: at most `at_once`."""
        return self._entered

    @property
    def waiting(self) -> int:
        """Requests that wait: at most `waiting`."""
        return len(self._line)

    def try_enter(self) -> bool:
        """Enter if there is a place and nobody waits for one. HOT."""
        if self._line or self._entered >= self._limits.at_once:
            return False
        self._entered += 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether whoever comes now is turned away at once. HOT."""
        if self._entered < self._limits.at_once and not self._line:
            return False
        return not self._line.has_room(asyncio.get_running_loop().time())

    async def enter(self, is_there: Callable[[], bool]) -> None:
        """Enter when it is its turn; `is_there` tells then whether the client still is. Raises ShedError."""
        if self.try_enter():
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self._line.has_room(now):
            raise ShedError("full")
        turn: asyncio.Future[Reason | None] = loop.create_future()
        until, gone = self._line.join(turn, now)
        if gone is not None and not gone.done():
            gone.set_result("full")
        if self._alarm is None or until < self._alarm_at:
            self._set_alarm(until)
        try:
            refused = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.result() is None:
                self.leave()
            raise
        if refused is not None:
            raise ShedError(refused)
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
        if not self._line:
            self._line.rest()
            return
        now = asyncio.get_running_loop().time()
        while self._line and self._entered < self._limits.at_once:
            turn = self._line.next(now)
            if not turn.done():  # else it has been cancelled
                self._entered += 1
                turn.set_result(None)
        if self._entered < self._limits.at_once:
            self._line.rest()

    def _set_alarm(self, until: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = asyncio.get_running_loop().call_at(until, self._expire)
        self._alarm_at = until

    def _expire(self) -> None:
        self._alarm = None
        for turn in self._line.late(asyncio.get_running_loop().time()):
            if not turn.done():
                turn.set_result("late")
        until = self._line.next_late
        if until is not None:
            self._set_alarm(until)
