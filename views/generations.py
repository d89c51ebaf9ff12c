"""Which generations of the views there are, which one is read, and which entries an operator had skipped.

A generation is one complete copy of all views with its own progress. Exactly one is live once there are any. Does not
own their rows (`views.store`), nor building, comparing or dropping them (`processors.rebuild.builds`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, Literal, Protocol

import msgspec

from views.table import Column, Table

State = Literal["building", "ready", "live", "retired"]
FIRST: Final = "g1"
_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,15}")
REASON_MAX: Final = 500


class GenerationError(Exception):
    """An operator asked for what cannot be done; the message says why, and what can."""


class Generation(msgspec.Struct, frozen=True):
    """`source` is what it was built from: the id of each topic, or of the log file under the name `log`.

    `building` has never held all of the log; `ready` may be flipped to; `retired` was live and may be again.
    """

    name: str
    state: State
    shape: str
    source: Mapping[str, str]
    created: int
    shards: int


class Skip(msgspec.Struct, frozen=True):
    """One entry that is not taken, by an operator's word: by derive in `commits`, by every generation in `records`."""

    topic: str
    shard: int
    offset: int
    reason: str
    time: int


class Registry(Protocol):
    """Durable when a call returns. Raises GenerationError for what its state does not allow."""

    async def all(self) -> list[Generation]:
        """In the order they were made."""
        ...

    async def add(self, generation: Generation) -> None:
        """As building, or as live if there is none yet; refused when the name is taken."""
        ...

    async def mark_ready(self, name: str) -> None:
        """It has held all of the log once; nothing happens when it is further than that."""
        ...

    async def flip(self, name: str) -> None:
        """One atomic step: `name` is live, and the one that was is retired. Refused while `name` is building."""
        ...

    async def remove(self, name: str) -> None:
        """Refused when it is live; nothing happens when there is none."""
        ...


class Skips(Protocol):
    """The record of what was skipped; read when a shard is taken, kept as long as the log."""

    async def skip(self, skip: Skip) -> None:
        """The same entry again changes its reason."""
        ...

    async def skips(self) -> list[Skip]: ...


def skipped(skips: Sequence[Skip], topic: str, shard: int) -> frozenset[int]:
    """The offsets of one shard that are not taken."""
    return frozenset(skip.offset for skip in skips if skip.topic == topic and skip.shard == shard)


def checked_name(name: str) -> str:
    """It becomes part of files, keyspaces and topics. Raises GenerationError."""
    if _NAME.fullmatch(name) is None:
        raise GenerationError(
            f"{name!r} is no name of a generation: a letter, then at most 15 letters and digits, as g2"
        )
    return name


def next_name(generations: Sequence[Generation]) -> str:
    """gN, above every number that is there."""
    numbers = [int(each.name[1:]) for each in generations if re.fullmatch(r"g\d{1,9}", each.name)]
    return f"g{max(numbers, default=0) + 1}"


def live_of(generations: Sequence[Generation]) -> Generation | None:
    return next((each for each in generations if each.state == "live"), None)


def named(generations: Sequence[Generation], name: str) -> Generation:
    """Raises GenerationError that names those there are."""
    for each in generations:
        if each.name == name:
            return each
    there = ", ".join(each.name for each in generations) or "none"
    raise GenerationError(f"there is no generation {name}: found {there}. Build it: headrace views build {name}")


def shape_of(tables: Sequence[Table]) -> str:
    """A fingerprint of the declared tables: code of another shape can neither read nor write their rows."""
    declared = [
        (table.name, table.source, [[(c.name, c.kind, c.descending) for c in columns] for columns in _parts(table)])
        for table in sorted(tables, key=lambda table: table.name)
    ]
    return sha256(msgspec.json.encode(declared)).hexdigest()[:16]


def _parts(table: Table) -> tuple[tuple[Column, ...], ...]:
    return table.partition, table.clustering, table.columns, table.statics
