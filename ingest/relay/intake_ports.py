"""What an intake asks of its surroundings: the log, where accounts were seen, handles, repairs, strangers.

Does not own what is done with a message (`ingest.relay.intake`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ingest.identity.did_doc import DidDocument
from ingest.log import Appended, Head
from ingest.relay.source import Numbered, Source
from ingest.repo.messages import CommitMessage, SyncMessage
from schemas.entries import Entry
from schemas.syntax import Did, Handle


class IntakeLog(Protocol):
    """What an intake needs of a log."""

    async def append(self, entry: Entry) -> Appended: ...

    def head(self, did: str) -> Head | None: ...


class Accounts(Protocol):
    """Which host an account was last seen at."""

    def host_of(self, did: str) -> str | None: ...

    def see(self, did: Did, host: str) -> None: ...


class Repairs(Protocol):
    """Accounts that are out of step."""

    def holds(self, did: str) -> bool:
        """HOT: whether the account is being caught up with."""
        ...

    def hold(self, source: Source, message: CommitMessage | SyncMessage) -> None:
        """Keep a message until the account has caught up. Raises Refused(CATCHING_UP) when there is no room."""
        ...

    def begin(self, did: Did, url: str | None) -> None:
        """The account is out of step; `url` is its host's origin. Raises Refused when there is no room."""
        ...


class Waiting(Protocol):
    """Accounts of which it cannot be told now who they are (`ingest.relay.strangers`)."""

    def holds(self, did: str) -> bool:
        """HOT: whether what comes of the account is to be held too."""
        ...

    def hold(self, source: Source, message: Numbered) -> None:
        """Keep a message until it can be told. Raises Refused(CATCHING_UP) when there is no room."""
        ...


HandleOf = Callable[[Did, DidDocument, bool], Awaitable[Handle | None]]
"""The handle that holds in both directions, asked for anew or as known. Raises IdentityRefused (transient)."""
