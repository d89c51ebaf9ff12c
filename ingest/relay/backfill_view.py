"""A backfill as it is shown, and what may be asked of backfills: the port of endpoints and of the command line.

`ingest.relay.backfill` is the adapter. Does not own HTTP, nor who may call (`api`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from ingest.relay.directory import HostView
from schemas.syntax import Did


class BackfillView(msgspec.Struct, frozen=True):
    """A job as it stands; `host` is empty where accounts were named. Times are unix microseconds.

    `state` is "running", "done" or "stopped". `accounts`: how many are known of it, all of them once `listed`;
    `waiting` of them are not done. `became` counts those that are ("fetched", "current", "inactive"), `failed` those
    that could not be had, by reason. `trouble` says why the list ended early, if it did.
    """

    id: int
    host: str
    upstream: bool
    state: str
    listed: bool
    accounts: int
    waiting: int
    became: dict[str, int]
    failed: dict[str, int]
    added: int
    ended: int | None
    trouble: str | None

    @property
    def whole(self) -> bool:
        """Whether it is done and nothing of it failed."""
        return self.state == "done" and not self.failed and self.trouble is None


class Backfills(Protocol):
    """Raises Refused: UNKNOWN of one that is not known, MANY when no more may run."""

    def backfills(self) -> list[BackfillView]:
        """The newest, in order; those that are over too."""
        ...

    def backfill(self, number: int) -> BackfillView: ...

    def failures(self, number: int, after: str, limit: int) -> list[tuple[str, str, str]]:
        """At most `limit` of (account, reason, detail) above `after`, in the order of their DIDs."""
        ...

    def stop(self, number: int) -> BackfillView:
        """What is not done is left; what is done stays."""
        ...


class BackfillStarts(Protocol):
    """Beginning one. A host is one that is read (`HostAdmin.add_host`)."""

    def of_host(self, host: HostView) -> BackfillView:
        """All accounts of a host; one that is under way is gone on with."""
        ...

    def of_accounts(self) -> BackfillView:
        """Of the accounts that `name` adds, until `named`."""
        ...

    def name(self, number: int, dids: Iterable[Did]) -> int:
        """How many are new to it."""
        ...

    def named(self, number: int) -> BackfillView:
        """No account is added any more."""
        ...


class BackfillDirectory(Backfills, BackfillStarts, Protocol):
    """All of it."""


class BackfillAdmin(Protocol):
    """What an operator asks of a relay."""

    @property
    def backfills(self) -> BackfillDirectory: ...

    async def backfill_host(self, hostname: str, *, upstream: bool = False, trusted: bool = False) -> BackfillView:
        """Read the host from now on, and fetch all its accounts; as `HostAdmin.add_host` besides."""
        ...
