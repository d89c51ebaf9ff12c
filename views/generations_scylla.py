"""The registry of a cluster, and its skips: three tables of the meta keyspace, changed by one process at a time.

Which generation is live is one row: a flip is one statement. Does not own the generations' own keyspaces.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from views.cql.session import CqlSession
from views.cql.settings import CqlSettings
from views.generations import Generation, GenerationError, Skip, State, named, skipped
from views.migrations import locked, migrate

_LOCK = "generations"


async def live_in(session: CqlSession, settings: CqlSettings) -> str | None:
    """The name of the generation that is read; None also in a store that has no registry. Changes nothing."""
    made = await session.admin(
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s AND table_name = 'live'",
        (settings.keyspace,),
    )
    return await CqlRegistry(session, settings).live() if made else None


class CqlRegistry:
    """`views.generations.Registry` and `Skips`; make one with `open`."""

    def __init__(self, session: CqlSession, settings: CqlSettings) -> None:
        self.session = session
        self._settings = settings
        self._keyspace = settings.keyspace

    @classmethod
    async def open(cls, settings: CqlSettings) -> CqlRegistry:
        """Raises InvariantError for a store that is not there or newer than this code."""
        session = await CqlSession.connect(settings)
        try:
            await migrate(session, settings)
        except BaseException:
            await session.close()
            raise
        return cls(session, settings)

    async def close(self) -> None:
        await self.session.close()

    async def all(self) -> list[Generation]:
        live, was = await self._live()
        rows = await self._ask("SELECT name, ready, shape, source, created, shards FROM {k}.generations")
        found = [
            Generation(name, _state(name, ready, live, was), shape, msgspec.json.decode(source), created, shards)
            for name, ready, shape, source, created, shards in rows
        ]
        return sorted(found, key=lambda each: (each.created, each.name))

    async def live(self) -> str | None:
        """The name of the one that is read: one row, for who asks every second."""
        return (await self._live())[0]

    async def add(self, generation: Generation) -> None:
        async with locked(self.session, self._settings, _LOCK):
            found = await self.all()
            if any(each.name == generation.name for each in found):
                raise GenerationError(
                    f"there is a generation {generation.name} already: choose another name,"
                    f" or drop it first: headrace views drop {generation.name}"
                )
            source = msgspec.json.encode(generation.source).decode()
            values = (generation.name, not found, generation.shape, source, generation.created, generation.shards)
            await self._ask(
                "INSERT INTO {k}.generations (name, ready, shape, source, created, shards)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                values,
            )
            if not found:
                await self._point(generation.name, {generation.name})

    async def mark_ready(self, name: str) -> None:
        async with locked(self.session, self._settings, _LOCK):
            if any(each.name == name for each in await self.all()):
                await self._ask("UPDATE {k}.generations SET ready = true WHERE name = %s", (name,))

    async def flip(self, name: str) -> None:
        async with locked(self.session, self._settings, _LOCK):
            state = named(await self.all(), name).state
            if state == "building":
                raise GenerationError(f"{name} has not seen all of the log yet: wait for ready in headrace views list")
            _, was = await self._live()
            await self._point(name, {*was, name})

    async def remove(self, name: str) -> None:
        async with locked(self.session, self._settings, _LOCK):
            live, was = await self._live()
            if name == live:
                raise GenerationError(f"{name} is live: flip to another one first: headrace views flip NAME")
            await self._ask("DELETE FROM {k}.generations WHERE name = %s", (name,))
            if live is not None and name in was:
                await self._point(live, set(was) - {name})

    async def skip(self, skip: Skip) -> None:
        await self._ask(
            "INSERT INTO {k}.skips (topic, shard, offset, reason, time) VALUES (%s, %s, %s, %s, %s)",
            (skip.topic, skip.shard, skip.offset, skip.reason, skip.time),
        )

    async def skips(self) -> list[Skip]:
        rows = await self._ask("SELECT topic, shard, offset, reason, time FROM {k}.skips")
        return sorted((Skip(*row) for row in rows), key=lambda skip: (skip.topic, skip.shard, skip.offset))

    async def skipped(self, topic: str, shard: int) -> Collection[int]:
        """What `processors.lanes.shards` and derive ask when they take a shard."""
        return skipped(await self.skips(), topic, shard)

    async def _live(self) -> tuple[str | None, Collection[str]]:
        rows = await self._ask("SELECT name, was FROM {k}.live WHERE key = 'live'")
        return (rows[0][0], rows[0][1] or ()) if rows else (None, ())

    async def _point(self, name: str, was: set[str]) -> None:
        await self._ask("INSERT INTO {k}.live (key, name, was) VALUES ('live', %s, %s)", (name, was))

    async def _ask(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return await self.session.admin(statement.format(k=self._keyspace), values)


def _state(name: str, ready: bool, live: str | None, was: Collection[str]) -> State:  # noqa: FBT001 - a column
    if name == live:
        return "live"
    return "retired" if name in was else "ready" if ready else "building"
