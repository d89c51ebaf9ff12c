"""Many random networks in one log, none of which can see another: fresh DIDs, a handle and a name that none other has.

Each network has a model of its own, which reads of the log what is its own. Does not own who makes views of the log.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.derive import did_of
from ingest.log_sqlite.log import SqliteLog
from schemas.entries import Account, Entry, Identity
from schemas.operations import Operation
from schemas.syntax import Did, Handle
from tests.oracle.compare import QUERIES
from tests.oracle.model import Model
from tests.support.fast_network import SECOND, START, STEP, FastNetwork
from tests.support.random_network import NOBODY, Habits, Named, Operate, RandomNetwork, Step, Write

_LETTERS = "abcdefghij"


class Member(FastNetwork):
    """One of the networks. Its log and clock are the crowd's; it has no views."""

    def __init__(self, crowd: Crowd, number: int, accounts: int) -> None:
        self._crowd = crowd
        self.number = number
        self._name = "".join(chr(ord("a") + number // 26**place % 26) for place in (2, 1, 0))
        own = "".join("abcdefghijklmnop"[number >> shift & 15] for shift in range(44, -1, -4))
        self._nobody = f"did:plc:{'z' * 12}{own}"
        super().__init__(crowd.directory, [f"did:plc:{role * 12}{own}" for role in _LETTERS[:accounts]], crowd.shards)
        self.log = crowd.log

    @property
    def clock(self) -> int:
        return self._crowd.clock

    @clock.setter
    def clock(self, value: int) -> None:
        self._crowd.clock = max(value, self._crowd.clock)

    @property
    def queries(self) -> list[str]:
        """What a search of this network's accounts begins with."""
        return [self._name + query for query in QUERIES]

    async def begin(self) -> None:
        for n, did in enumerate(self.dids):
            name = Identity(Did(did), Handle(f"{self._name}name{n}.test"))
            await self.log.append_many([name, Account(Did(did), "active"), self.repos[did].commit()])
            self.clock += SECOND

    async def do(self, step: Step) -> None:
        await super().do(self._own(step))

    def _own(self, step: Step) -> Step:
        """The step with this network's names in place of those that all random networks use."""
        if isinstance(step, Named):
            return step if step.handle is None else Named(step.did, self._name + step.handle)
        if isinstance(step, Write):
            return Write(step.did, tuple((path, self._renamed(value)) for path, value in step.changes), step.diff)
        if isinstance(step, Operate):
            return replace(step, subject=self._renamed(step.subject))
        return step

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._called(name, self._renamed(inner)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._renamed(inner) for inner in value]
        if isinstance(value, bytes):
            return value.replace(NOBODY.encode(), self._nobody.encode())
        return value.replace(NOBODY, self._nobody) if isinstance(value, str) else value

    def _called(self, name: str, value: Any) -> Any:
        return self._name + value if name == "displayName" and value and isinstance(value, str) else value


class Crowd:
    """Make one with `await Crowd(...).open()`; `live` makes all of it happen."""

    def __init__(self, directory: Path, shards: int) -> None:
        """`directory` is there."""
        self.directory = directory
        self.shards = shards
        self.clock = START
        self.members: list[Member] = []
        self._read = [0] * shards

    async def open(self) -> Crowd:
        path = self.directory / "log.sqlite"
        self.log = await SqliteLog.open(path, shards=self.shards, now=lambda: self.clock, step=STEP)
        return self

    async def close(self) -> None:
        await self.log.close()

    async def live(self, seeds: Sequence[int], steps: int, habits: Sequence[Habits]) -> None:
        """A network of 3 to 5 accounts for each seed, one after the other."""
        for seed in seeds:
            dice = random.Random(seed)
            member = Member(self, len(self.members), dice.randint(3, 5))
            self.members.append(member)
            await member.begin()
            for step in RandomNetwork(dice, member.dids, member.now, dice.choice(habits)).steps(steps):
                await member.do(step)

    async def commits(self) -> list[tuple[int, int, Entry]]:
        """(shard, offset, entry) of all there is, refused ones among it, in each shard's order."""
        return [(shard, offset, entry) for shard in range(self.shards) async for offset, entry in self._of(shard, 0)]

    async def operations(self) -> list[tuple[int, Operation]]:
        """(shard, operation) of all that is there, removals among it, in each shard's order."""
        return [
            (shard, operation)
            for shard in range(self.shards)
            for operation in await self.log.read_operations(shard, 0, 1_000_000)
        ]

    async def _of(self, shard: int, after: int) -> AsyncIterator[tuple[int, Entry]]:
        while entries := await self.log.read_commits(shard, after, 1000):
            for offset, entry in entries:
                yield offset, entry
                after = offset

    async def read(self) -> list[Model]:
        """The models, brought up to the end of `commits`."""
        owners = {did: member for member in self.members for did in member.dids}
        for shard in range(self.shards):
            async for offset, entry in self._of(shard, self._read[shard]):
                owners[did_of(entry)].model.take(entry)
                self._read[shard] = offset
        return [member.model for member in self.members]
