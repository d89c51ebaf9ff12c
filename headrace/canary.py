"""A canary: an account of its own posts, and asks the views until the post shows; then the post is deleted again.

What it times is what a person waits: from sending the write to the answer that has it. Rounds begin by the clock, one
at a time; one that takes too long is given up and counted. A post that could not be deleted is owed and deleted by a
later round, at most OWED of them. Does not own how servers are asked (`canary_servers.py`) nor who shows what it found
(`headrace/metrics/canary.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

import structlog

OWED: Final = 100
PAUSE_SECONDS: Final = 0.05  # between two looks at first; a tenth of the time that has passed later
PAUSE_MOST_SECONDS: Final = 1.0

_log = structlog.get_logger()


class ServerAwayError(Exception):
    """A server did not answer, or not with what was asked for; the message names the call and what came."""


class Servers(Protocol):
    """A PDS that has the canary's account, and an AppView. All raise ServerAwayError."""

    async def write(self) -> str:
        """Make a post; its URI. Whoever is told nothing may have made one: `left` has it."""
        ...

    async def shows(self, uri: str) -> bool:
        """Whether the views show it to anybody."""
        ...

    async def delete(self, uri: str) -> None: ...

    async def left(self) -> list[str]:
        """Posts of former rounds that are still there, at most 100."""
        ...


class Result(StrEnum):
    """How a round ended."""

    SHOWN = "shown"
    UNSHOWN = "unshown"
    """The views answered, without the post, to the end."""
    UNREAD = "unread"
    """The views did not answer when it was given up."""
    UNWRITTEN = "unwritten"
    """The PDS did not take the post."""


class Round(NamedTuple):
    """`seconds` from sending the write until it showed, or until it was given up."""

    result: Result
    seconds: float


class Canary:
    """`run` until cancelled; `every` is the time between two rounds and `wait` that of one, seconds."""

    def __init__(
        self,
        servers: Servers,
        ended: Callable[[Round], None],
        *,
        every: float,
        wait: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._servers = servers
        self._ended = ended
        self._every = every
        self._wait = wait
        self._clock = clock
        self._sleep = sleep
        self._owed: deque[str] = deque(maxlen=OWED)
        self._ask_what_is_left = True

    async def run(self) -> None:
        due = self._clock()
        while True:
            found = await self.round()
            self._ended(found)
            await self.tidy()
            due = max(due + self._every, self._clock())
            await self._sleep(due - self._clock())

    async def round(self) -> Round:
        """One post, until it shows or is given up."""
        begun = self._clock()
        try:
            uri = await self._servers.write()
        except ServerAwayError as error:
            self._ask_what_is_left = True
            _log.warning("canary.unwritten", error=str(error))
            return Round(Result.UNWRITTEN, self._clock() - begun)
        self._owed.append(uri)
        while True:
            try:
                shown, away = await self._servers.shows(uri), None
            except ServerAwayError as error:
                shown, away = False, error
            waited = self._clock() - begun
            if shown:
                return Round(Result.SHOWN, waited)
            if waited >= self._wait:
                _log.warning("canary.unshown", seconds=waited, error=None if away is None else str(away))
                return Round(Result.UNSHOWN if away is None else Result.UNREAD, waited)
            await self._sleep(min(PAUSE_MOST_SECONDS, max(PAUSE_SECONDS, waited / 10)))

    async def tidy(self) -> None:
        """Delete what is owed; what cannot be is owed further."""
        try:
            if self._ask_what_is_left:
                known = set(self._owed)
                self._owed.extend(uri for uri in await self._servers.left() if uri not in known)
                self._ask_what_is_left = False
            while self._owed:
                await self._servers.delete(self._owed[0])
                self._owed.popleft()
        except ServerAwayError as error:
            _log.warning("canary.undeleted", posts=len(self._owed), error=str(error))
