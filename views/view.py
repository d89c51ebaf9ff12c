"""What a view is: a table, and pure functions that say which rows a thing makes. Create, update and delete follow.

A *source* is what a projection is a function of: a collection's NSID (given a `Record`), or one of the names below.
A view of a table whose source is `edges` says its rows in the same way; they travel as messages to the shard of their
partition. One whose source is `operations` says rows by kind of operation (`schemas.operations`), given an `Operation`,
and nothing else. Does not own batches, marks or counts' arithmetic (`processors`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

from views.overlay import Overlay
from views.table import Key, Row, Table

# Sources that are no collection.
ACCOUNT: Final = "#account"  # an AccountEntry
HEAD: Final = "#head"  # a HeadEntry
TAKEDOWN: Final = "#takedown"  # a TakedownEntry that takes down
ACTOR: Final = "#actor"  # a row of `actors`
LIKED: Final = "#liked"  # the like that counts: a row of `likes_by_actor`
REPOSTED: Final = "#reposted"
FOLLOWED: Final = "#followed"
BLOCKED: Final = "#blocked"

Rows = Callable[[Any], Sequence[Row]]
# (partition, place of the static column): each thing that is there adds one
Tally = Callable[[Any], Sequence[tuple[Key, int]]]
Source = tuple[str, int, int, int]  # topic, shard, offset, index


class Edge(msgspec.Struct, frozen=True, gc=False):
    """A change that one thing makes under one subject of one view, on its way to the subject's shard."""

    src: Source
    view: str
    subject: str
    """The first column of the partition."""
    drops: tuple[Key, ...]
    puts: tuple[Row, ...]
    counted: Key = ()
    """The partition whose statics change by `deltas`: (place of the static column, what it changes by)."""
    deltas: tuple[tuple[int, int], ...] = ()


class Fan(msgspec.Struct, frozen=True, gc=False):
    """The same change of several readers' timelines; rows and keys leave out the reader."""

    src: Source
    readers: tuple[str, ...]
    drops: tuple[Key, ...]
    puts: tuple[Row, ...]
    complete_since: int | None = None


class FanoutSettings(msgspec.Struct, frozen=True):
    """What decides where timelines come from; the same in every process of a generation."""

    pull_above: int = 2_000
    """An author with more followers is pulled by readers, not pushed to them."""
    backfill: int = 100
    """K: how many of an author's newest posts a new follower is given, and an author keeps at hand."""
    keep: int = 1_000
    """How long a timeline grows before its end is cut."""
    trim_every: int = 512
    """One write in so many looks whether there is something to cut."""


class Folding(Protocol):
    """What a fold of one's own may use besides the overlay."""

    @property
    def settings(self) -> FanoutSettings: ...

    async def follower_count(self, did: str) -> tuple[int, int]:
        """(followers, offset up to which they are folded in)."""
        ...

    async def followers(self, did: str) -> Mapping[str, int]:
        """Who follows `did` now, each with its shard; only asked of accounts with at most `pull_above`."""
        ...

    def followers_changed(self, did: str, gone: Iterable[str], come: Iterable[str]) -> None: ...

    def followers_unknown(self, did: str) -> None:
        """Somebody else has folded a change of them in: what is held of them may be behind the store."""
        ...

    def shard_of(self, did: str) -> int: ...

    def send(
        self,
        readers: Mapping[str, int],
        drops: tuple[Key, ...],
        puts: tuple[Row, ...],
        complete_since: int | None = None,
    ) -> None:
        """Send the change to the shards of these readers."""
        ...


Fold = Callable[[Edge, int, Overlay, Folding], Awaitable[None]]
Merge = Callable[[Row | None, str, Any], Row | None]


@dataclass(frozen=True, slots=True)
class View:
    """One file's worth. `rows` by source; everything else is for the few that need it.

    `tallies`: what the table's statics count. `first`: the table keeps duplicates that differ in their last key column,
    and the change of the first row goes on as this source. `merge`: the row is made of several sources' current values
    (old row, key, thing or None), and its change goes on as `merged`. `fold`: how an edge is folded in, beyond writing
    rows and counts (given the edge and its offset in the hop).
    """

    table: Table
    rows: Mapping[str, Rows] = field(default_factory=dict)
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    first: str | None = None
    merge: Mapping[str, Merge] = field(default_factory=dict)
    merged: str | None = None
    fold: Fold | None = None

    @property
    def name(self) -> str:
        return self.table.name
