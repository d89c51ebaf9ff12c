"""The log's ports: what may be asked of `commits`, `records` and `firehose`, whatever stores them.

`ingest.log_sqlite.log` is the adapter of one process; in a cluster each role has the ports that it needs (`PdsLog` is a
PDS's). Does not own acceptance (`ingest.verdict`) nor what follows from an entry (`ingest.derive`).

Offsets start at 1 in every shard; `after=0` reads from the start. Everything a reader is given is committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from schemas.cid import Cid
from schemas.entries import Derived, Entry, FirehoseEvent, Status
from schemas.errors import Refused, XrpcError
from schemas.operations import Operation
from schemas.syntax import Did, Handle
from schemas.tid import Tid


class Reason(StrEnum):
    """Why the verdict refuses an entry; a bounded metric label."""

    DUPLICATE = "duplicate"
    STALE_REV = "stale_rev"
    PREV_DATA_MISMATCH = "prev_data_mismatch"
    DELETED = "deleted"
    BASE_MOVED = "base_moved"
    DIFF_INCOMPLETE = "diff_incomplete"
    DIFF_MALFORMED = "diff_malformed"


class Rejected(Refused):
    """The verdict refused the entry: it is in nothing derived. `head` is what the log holds of the account."""

    def __init__(self, reason: Reason, detail: str, head: Head | None = None) -> None:
        super().__init__(reason, detail)
        self.head = head


class LogAwayError(XrpcError):
    """The log cannot say for the moment: the client gets 503.

    `outcome` is of the entries that were to be appended: "unknown" they may be in the log, "absent" they are not.
    """

    def __init__(self, outcome: Literal["unknown", "absent"], detail: str) -> None:
        super().__init__("ServiceUnavailable", detail, 503)
        self.outcome = outcome


class Head(msgspec.Struct, frozen=True):
    """What derive knows of an account.

    `status` is what the owner or host set, `taken_down` what moderation laid over it. `partial`: history before the
    head is missing (EXACTNESS 19), so the repo index may lack keys. Without a repo, `data` and `commit` are None;
    `rev` may still stand then (a deleted repo's last one), and later ones must be above it. `verified_at` is the log
    time of the entry that set the handle; 0 before the first.
    """

    did: Did
    rev: Tid | None = None
    data: Cid | None = None
    commit: Cid | None = None
    commit_block: bytes | None = None
    status: Status = "active"
    handle: Handle | None = None
    partial: bool = False
    taken_down: bool = False
    verified_at: int = 0

    @property
    def effective_status(self) -> Status:
        """The state readers apply: a takedown hides what the owner set; deletion stands above both."""
        return "takendown" if self.taken_down and self.status != "deleted" else self.status


class Appended(msgspec.Struct, frozen=True):
    """An entry is durable and accepted: its place in `commits`, its firehose seq (if it makes an event), its log time.

    A diff's event comes when all of the diff is in: `seq` is None.

    `records_end` is the shard's end of `records` once all that follows from the entry is in: a reader whose progress
    has reached it has seen the entry. Where derive is another process, `seq` is None and `records_end` 0.
    """

    shard: int
    offset: int
    seq: int | None
    time: int
    records_end: int


class Changes(Protocol):
    """Wakes readers when new entries are committed."""

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` on the loop after every commit, soon and without arguments; the result unsubscribes."""
        ...

    async def wait(self, seen: Sequence[int], operations: Sequence[int] | None = None) -> None:
        """Return once some shard's end of `records` is above `seen[shard]`; at once if one is already.

        Or, where `operations` are given, its end of `operations` is above that.
        """
        ...

    async def wait_firehose(self, seen: int) -> None:
        """Return once the newest seq is above `seen`; at once if it is already."""
        ...


class Appender(Protocol):
    """Puts entries into `commits`; the log decides."""

    async def append(self, entry: Entry) -> Appended:
        """Durable and accepted when it returns; derived too where one process does both.

        Raises Rejected, or LogAwayError; any other error: the outcome is unknown.
        """
        ...

    async def append_many(self, entries: Sequence[Entry]) -> list[Appended]:
        """Several entries in order and in one transaction, all or nothing (nothing is stored when one is Rejected)."""
        ...


class RecordsReader(Protocol):
    """Reads `records`, in shard order."""

    @property
    def shards(self) -> int: ...

    @property
    def changed(self) -> Changes: ...

    def records_end(self, shard: int) -> int:
        """The offset of the newest entry; 0 when there is none."""
        ...

    async def read_records(self, shard: int, after: int, limit: int) -> list[Derived]:
        """At most `limit` entries above `after`, in order; compaction may have left gaps between offsets."""
        ...


class OperationsReader(Protocol):
    """Reads `operations`, in shard order."""

    def operations_end(self, shard: int) -> int:
        """The offset of the newest entry; 0 when there is none."""
        ...

    async def read_operations(self, shard: int, after: int, limit: int) -> list[Operation]:
        """At most `limit` entries above `after`, in order; of a key that was set again only the last may be there."""
        ...


class Operated(msgspec.Struct, frozen=True):
    """An operation is durable: its place in `operations`, and its log time."""

    shard: int
    offset: int
    time: int


class Operator(Protocol):
    """Puts what the AppView itself writes into `operations`."""

    async def operate(self, operation: Operation) -> Operated:
        """Durable when it returns. Raises LogAwayError, or what stopped the log: then it may take effect or not."""
        ...


class ViewSource(RecordsReader, OperationsReader, Protocol):
    """All that views are made of."""


class CommitsReader(Protocol):
    """Reads `commits`, in shard order, rejected entries included."""

    def commits_end(self, shard: int) -> int: ...

    async def read_commits(self, shard: int, after: int, limit: int) -> list[tuple[int, Entry]]:
        """At most `limit` (offset, entry) above `after`, in order."""
        ...


class FirehoseReader(Protocol):
    """Reads the global order of accepted frames."""

    @property
    def changed(self) -> Changes: ...

    def firehose_bounds(self) -> tuple[int, int, int]:
        """(oldest seq, newest seq, oldest time); all 0 when nothing was ever sequenced."""
        ...

    async def read_firehose(self, after_seq: int, limit: int) -> list[FirehoseEvent]:
        """At most `limit` events above `after_seq`, in order; gaps are allowed."""
        ...


class RepoIndex(Protocol):
    """What derive keeps beside its heads: did -> path -> the record's place in `records`."""

    def head(self, did: str) -> Head | None: ...

    def newest(self, did: str) -> tuple[int, int] | None:
        """(shard, offset in `records`) of the account's newest head or account entry: who has read it has seen all."""
        ...

    def record(self, did: str, path: str) -> tuple[Cid, bytes, int] | None:
        """(cid, DAG-CBOR, first_time) of the live record at "collection/rkey"."""
        ...

    def paths(self, did: str, collection: str | None = None, after: str = "", limit: int = 1000) -> list[str]:
        """Live paths above `after`, in byte order."""
        ...


Value = tuple[Did, str, Cid | None, bytes | None]
"""(account, path, cid, DAG-CBOR) of a record; None and None: it is deleted."""


class Follower(Protocol):
    """What a PDS does when its log learns more of its accounts than it was told in answers."""

    async def replay(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Bring these, of one shard and in order, into files and rows: their outcome was unknown, they are in."""
        ...

    async def reread(self, did: Did) -> None:
        """The account's head was wrong and is right now: forget what was built on it."""
        ...

    def checkpoints(self) -> Mapping[int, int]:
        """By shard, the offset of `commits` that all files and rows are complete to."""
        ...


class AccountLog(Protocol):
    """What the log holds of the accounts that live here."""

    async def host(self, dids: Collection[Did]) -> None:
        """These accounts live here from now on: their heads are known when it returns. May be repeated."""
        ...

    def head(self, did: str) -> Head | None:
        """HOT. What is accepted, as far as it is known: never what is in flight."""
        ...

    async def settled(self, did: Did) -> None:
        """Return once no outcome of the account's is unknown. Raises LogAwayError when that takes long."""
        ...

    def values(self, dids: Collection[Did]) -> AsyncIterator[list[Value]]:
        """Pages of `records` of these accounts up to their heads. A path may come again: the last one counts."""
        ...

    def follow(self, follower: Follower) -> None:
        """Tell `follower` from now on. Called once, before anything is appended."""
        ...


class PdsLog(Appender, AccountLog, CommitsReader, Protocol):
    """All that a PDS needs of a log. `read_commits` need only give entries of accounts that live here."""

    @property
    def shards(self) -> int: ...


class Log(Appender, ViewSource, Operator, CommitsReader, FirehoseReader, RepoIndex, Protocol):
    """All of it, as one process has it."""

    async def truncate(
        self,
        *,
        commits: Mapping[str, Mapping[int, int]],
        records: Mapping[str, Mapping[int, int]],
        now: int,
        operations: Mapping[str, Mapping[int, int]] | None = None,
    ) -> int:
        """Drop what no consumer needs (`ingest.log_truncate`); returns the number of entries dropped.

        `commits`, `records` and `operations` (none when None) map each topic's consumers to their offset per shard;
        `now` is unix microseconds.
        """
        ...

    async def close(self) -> None: ...
