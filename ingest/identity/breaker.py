"""When a server may be asked, and by how many at once: a circuit breaker and an additive-increase limit. Pure.

- closed: at most `limit` requests at once. A failure halves the limit, as many successes as it allows raise it by one.
- open, after `FAILURES` failures in a row or at once when the server says when to come again: nothing is asked, for a
  second and then twice as long each time up to a minute (with jitter), or as long as the server said.
- half_open, when that time is over: one request probes. It closes the breaker, or opens it again for longer.

What was asked before the breaker opened decides nothing when it ends later. Time is a function given at construction.
Does not own what is asked, nor what is a failure (`plc_paced.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from time import monotonic
from typing import Literal

from ingest.identity.reasons import IdentityReason, IdentityRefused

State = Literal["closed", "open", "half_open"]
STATES: tuple[State, ...] = ("closed", "open", "half_open")

FAILURES = 5
FIRST_LIMIT = 8
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds, before jitter
LONGEST_SAID = 300.0  # seconds that a server's Retry-After is believed for


class Breaker:
    """`admit` before a request, then one of `succeeded`, `failed` and `let_go` with the ticket that it gave."""

    def __init__(
        self,
        most: int = 64,
        now: Callable[[], float] = monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        """`most` requests at once, ever; `dice` gives [0, 1)."""
        self.state: State = "closed"
        self.limit = min(FIRST_LIMIT, most)
        self.opened = 0
        """How often it has opened."""
        self._most = most
        self._now = now
        self._dice = dice
        self._ticket = 0
        self._under_way = 0
        self._probing = False
        self._until = 0.0
        self._failures = 0
        self._successes = 0
        self._streak = 0

    @property
    def under_way(self) -> int:
        """Requests admitted since it last changed state."""
        return self._under_way

    @property
    def has_room(self) -> bool:
        """Whether `admit` would give a ticket or refuse: when not, it is to be waited for."""
        return self.state != "closed" or self._under_way < self.limit

    def admit(self) -> int:
        """A ticket. Raises IdentityRefused(BUSY) with the seconds until another try while nothing may be asked."""
        left = self._until - self._now()
        if self.state == "open" and left <= 0:
            self._enter("half_open")
        if self.state == "open" or (self.state == "half_open" and self._probing):
            raise IdentityRefused(
                IdentityReason.BUSY,
                "the did:plc directory is not asked while it fails; it is tried again by itself",
                max(left, FIRST_PAUSE),
            )
        self._probing = self.state == "half_open"
        self._under_way += 1
        return self._ticket

    def succeeded(self, ticket: int) -> None:
        if ticket != self._ticket:
            return
        self._under_way -= 1
        self._failures = 0
        if self.state == "half_open":
            self.limit = 1
            self._enter("closed")
            return
        self._successes += 1
        if self._successes >= self.limit:
            self._successes = self._streak = 0
            self.limit = min(self._most, self.limit + 1)

    def failed(self, ticket: int, retry_after: float | None = None) -> None:
        """`retry_after`: seconds, as the server said."""
        if ticket != self._ticket:
            return
        self._under_way -= 1
        self._failures += 1
        self._successes = 0
        self.limit = max(1, self.limit // 2)
        if self.state == "half_open" or self._failures >= FAILURES or retry_after is not None:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._streak, 10)) * (0.5 + self._dice())
            self._until = self._now() + max(pause, min(retry_after or 0.0, LONGEST_SAID))
            self._streak += 1
            self.opened += 1
            self._enter("open")

    def let_go(self, ticket: int) -> None:
        """The request was given up by whoever wanted it: it says nothing."""
        if ticket == self._ticket:
            self._under_way -= 1
            self._probing = False

    def _enter(self, state: State) -> None:
        self.state = state
        self._ticket += 1
        self._under_way = 0
        self._failures = self._successes = 0
        self._probing = False
