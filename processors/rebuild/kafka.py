"""The generations of a cluster: each a keyspace, hops and a consumer group of its own, filled by its own workers.

A command changes the registry and what stands around a generation; `headrace process --set generation=NAME` fills it.
Compaction is held from before a build begins until nothing is being built (EXACTNESS 6). Does not own the registry
(`views.generations_scylla`), topics nor lanes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from ingest.log_kafka.client import KafkaSettings, new_admin
from ingest.log_kafka.pds.read import ShardReader
from ingest.log_kafka.topic_ids import topic_ids
from ingest.log_kafka.topics import compaction_held, drop_hops, ensure_hops, hold_compaction
from processors.lanes.stages import SOURCES
from processors.rebuild.builds import CATCH_UP_SECONDS, GAP_MOST, Diff, Standing
from processors.rebuild.moving import compare_moving
from processors.run_plain import group_of
from schemas import crash
from schemas.errors import InvariantError
from schemas.topics import COMMITS, EDGES, FANOUT, OPERATIONS, RECORDS, hop
from views.complete import complete, complete_operations
from views.cql.settings import CqlSettings
from views.generations import (
    FIRST,
    REASON_MAX,
    Generation,
    GenerationError,
    Skip,
    checked_name,
    live_of,
    named,
    next_name,
    shape_of,
)
from views.generations_scylla import CqlRegistry
from views.migrations import locked
from views.store_scylla import ScyllaStore
from views.view import View

_LOOK_SECONDS = 0.1
_MAKING = "generation"  # the lock of who makes or drops one


class ClusterGenerations:
    """`processors.rebuild.builds.Generations` over a broker and a store."""

    def __init__(
        self,
        registry: CqlRegistry,
        kafka: KafkaSettings,
        cql: CqlSettings,
        views: Sequence[View],
        *,
        shards: int,
        now: Callable[[], int],
    ) -> None:
        self._registry = registry
        self._kafka = kafka
        self._cql = cql
        self._views = views
        self._tables = [view.table for view in views]
        self._shards = shards
        self._now = now

    # --- what workers ask ---

    async def enter(self, name: str) -> Generation:
        """The generation that a worker is to fill; the first of a cluster is made here, and live at once.

        Raises InvariantError for one that is not there, of another shape, or of other topics.
        """
        found = await self._registry.all()
        if not found:
            async with locked(self._registry.session, self._cql, _MAKING):
                if not await self._registry.all():
                    await self._make(name)
            found = await self._registry.all()
        try:
            generation = named(found, name)
        except GenerationError as error:
            raise InvariantError(str(error)) from error
        source = await self._source()
        # One of before there were operations has another shape, which the store says.
        if dict(generation.source) != {topic: source.get(topic) for topic in generation.source}:
            raise InvariantError(
                f"{name} was built from topics {dict(generation.source)}, those of now are {source}: the log was"
                " replaced; build a new generation: headrace views build"
            )
        if generation.shards != self._shards:
            raise InvariantError(f"{name} is of {generation.shards} shards, expected {self._shards}: set shards to it")
        return generation

    async def advance(self, name: str) -> Generation | None:
        """Mark a generation that holds all of the log, and let compaction work again once none is being built.

        None when it has been dropped.
        """
        found = {each.name: each for each in await self._registry.all()}
        generation = found.get(name)
        if generation is not None and generation.state == "building" and await self._seen_all(name):
            await self._registry.mark_ready(name)
            await self.give_back()
            found = {each.name: each for each in await self._registry.all()}
        return found.get(name)

    async def give_back(self) -> bool:
        """Let compaction work again when nothing is being built; whether it was held.

        Who dies between holding it and registering what is to be built leaves it held. Not while somebody makes or
        drops one: then it may be held for what is not registered yet.
        """
        if not await compaction_held(self._kafka, self._shards) or await self._builds():
            return False
        async with locked(self._registry.session, self._cql, _MAKING):
            return await self._give_back()

    def skips_of(self, name: str) -> Callable[[str, int], Awaitable[Collection[int]]]:
        """What a worker of this generation leaves out of a shard: hops are its own, the log is everybody's."""

        async def skipped(topic: str, shard: int) -> Collection[int]:
            return await self._registry.skipped(topic if topic in SOURCES else hop(topic, name), shard)

        return skipped

    # --- commands ---

    async def build(self, name: str | None) -> Standing:
        found = await self._registry.all()
        name = checked_name(next_name(found) if name is None else name)
        if any(each.name == name for each in found):
            raise GenerationError(f"there is a generation {name}: choose another name, or: headrace views drop {name}")
        if not found and name != FIRST:
            raise GenerationError(f"there is no generation yet: the first is made by headrace process, as {FIRST}")
        async with locked(self._registry.session, self._cql, _MAKING):
            await self._make(name)
        return await self._standing(name)

    async def all(self) -> list[Standing]:
        return [await self._of(each) for each in await self._registry.all()]

    async def diff(self, left: str, right: str) -> Diff:
        """What is not equal is looked at again once both have seen what the log held: the log goes on meanwhile."""
        found = await self._registry.all()
        if left == right:
            raise GenerationError(f"{left} equals itself: name two generations")
        for name in (left, right):
            self._fits(named(found, name))
            behind = await self._behind(name)
            if behind > GAP_MOST:
                raise GenerationError(f"{name} is {behind} entries behind the log: wait until both are ready")
        ours, theirs = self._store(left), self._store(right)

        async def passed() -> None:
            ends = await self._all_ends()
            for name in (left, right):
                await self._wait(name, ends, CATCH_UP_SECONDS)

        await passed()
        places = [(topic, shard) for topic in (RECORDS, OPERATIONS) for shard in range(self._shards)]
        vector = [(*place, offset) for place, offset in zip(places, await self._complete(left), strict=True)]
        return Diff(left, right, vector, await compare_moving(ours, theirs, self._views, passed))

    async def flip(self, name: str) -> Standing:
        found = await self._registry.all()
        generation, live = named(found, name), live_of(found)
        self._fits(generation)
        if generation.state == "live":
            raise GenerationError(f"{name} is live already")
        if generation.state == "building":
            raise GenerationError(
                f"{name} has not seen all of the log yet, {await self._behind(name)} entries are left:"
                " wait for ready in headrace views list"
            )
        if live is not None:
            # Nobody who has read the live one is to read less; one without workers never gets there.
            await self._wait(name, await self._complete(live.name), CATCH_UP_SECONDS)
        crash.point("generation.before_flip")
        await self._registry.flip(name)
        crash.point("generation.after_flip")
        return await self._standing(name)

    async def drop(self, name: str) -> Standing:
        generation = named(await self._registry.all(), name)
        if generation.state == "live":
            raise GenerationError(f"{name} is live: flip to another one first: headrace views flip NAME")
        if workers := await self._workers(name):
            raise GenerationError(
                f"{name} has {workers} workers: stop them first (headrace process, generation {name})"
            )
        standing = Standing(name, generation.state, generation.created, None)
        async with locked(self._registry.session, self._cql, _MAKING):
            await self._registry.remove(name)
            crash.point("generation.mid_drop")
            await self._clear(name)
            await self._give_back()
        return standing

    async def skip(self, topic: str, shard: int, offset: int, reason: str) -> Skip:
        """`topic` is commits, records, operations, or a generation's own edges.NAME or fanout.NAME."""
        names = [each.name for each in await self._registry.all()]
        known = (COMMITS, RECORDS, OPERATIONS, *(hop(each, name) for each in (EDGES, FANOUT) for name in names))
        if topic not in known:
            raise GenerationError(f"{topic!r} has nothing to skip: expected one of {', '.join(known)}")
        if not 0 <= shard < self._shards:
            raise GenerationError(f"there is no {topic}[{shard}]: the log has shards 0 to {self._shards - 1}")
        end = (await self._ends(topic))[shard]
        if not 0 < offset <= end:
            raise GenerationError(f"there is no entry {topic}[{shard}]@{offset}: the newest is at {end}")
        if not reason.strip() or len(reason) > REASON_MAX:
            raise GenerationError(f"expected a reason of 1 to {REASON_MAX} characters: it is kept on record")
        await self._not_taken(topic, shard, offset)
        skip = Skip(topic, shard, offset, reason.strip(), self._now())
        await self._registry.skip(skip)
        return skip

    async def skips(self) -> list[Skip]:
        return await self._registry.skips()

    # --- parts ---

    async def _make(self, name: str) -> None:
        await hold_compaction(self._kafka, self._shards, hold=True)
        crash.point("generation.after_hold")
        # What a drop that was cut short left behind belongs to nobody.
        await self._clear(name)
        await ensure_hops(self._kafka, name, self._shards)
        store = await ScyllaStore.open(self._cql, name, self._tables, create=True)
        await store.close()
        shape, source = shape_of(self._tables), await self._source()
        await self._registry.add(Generation(name, "building", shape, source, self._now(), self._shards))
        crash.point("generation.after_add")
        await self._give_back()  # the first is live at once: nothing is being built

    async def _clear(self, name: str) -> None:
        await ScyllaStore.drop(self._cql, name)
        await drop_hops(self._kafka, name)

    async def _give_back(self) -> bool:
        """Under the lock of who makes or drops one."""
        if await self._builds():
            return False
        await hold_compaction(self._kafka, self._shards, hold=False)
        return True

    async def _builds(self) -> bool:
        return any(each.state == "building" for each in await self._registry.all())

    async def _source(self) -> Mapping[str, str]:
        return await topic_ids(self._kafka, [RECORDS, OPERATIONS])

    def _fits(self, generation: Generation) -> None:
        if generation.shape != shape_of(self._tables):
            raise GenerationError(
                f"{generation.name} is of another shape than this version's: use the version that built it, or drop it"
            )

    def _store(self, name: str) -> ScyllaStore:
        """Reads through the registry's session; not to be closed."""
        return ScyllaStore(self._registry.session, self._cql, name)

    async def _ends(self, topic: str) -> list[int]:
        async with ShardReader(self._kafka, topic, self._shards) as reader:
            return await reader.stable_ends()

    async def _all_ends(self) -> list[int]:
        """Of each shard of `records`, then of `operations`."""
        return [end for topic in (RECORDS, OPERATIONS) for end in await self._ends(topic)]

    async def _complete(self, name: str) -> tuple[int, ...]:
        """In the order of `_all_ends`."""
        progress = await self._store(name).progress()
        return complete(progress, self._shards) + complete_operations(progress, self._shards)

    async def _behind(self, name: str) -> int:
        ends = await self._all_ends()
        reached = await self._complete(name)
        return sum(max(0, end - at) for end, at in zip(ends, reached, strict=True))

    async def _seen_all(self, name: str) -> bool:
        """All that the log held when this was called."""
        try:
            await self._wait(name, await self._all_ends(), CATCH_UP_SECONDS)
        except GenerationError:
            return False
        return True

    async def _wait(self, name: str, vector: Sequence[int], seconds: float) -> None:
        """Raises GenerationError when the views are not there in time."""
        try:
            async with asyncio.timeout(seconds):
                while any(at < to for at, to in zip(await self._complete(name), vector, strict=True)):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)  # it is other processes that bring it there
        except TimeoutError:
            raise GenerationError(
                f"{name} does not follow the log, it is {await self._behind(name)} entries behind: start its workers"
                f" (headrace process, generation {name}) and try again, or build another: headrace views build"
            ) from None

    async def _not_taken(self, topic: str, shard: int, offset: int) -> None:
        """Raises GenerationError for an entry that some generation holds: a rebuild would not."""
        base, _, owner = topic.partition(".")
        if base == COMMITS:
            return
        for each in await self._registry.all():
            if owner in ("", each.name) and each.state == "live":
                progress = await self._store(each.name).progress_of(base, shard)
                if progress.vector.get((base, shard), 0) >= offset:
                    raise GenerationError(
                        f"{each.name} holds {topic}[{shard}]@{offset} already: a skip would divide rebuilds from it"
                    )

    async def _workers(self, name: str) -> int:
        admin = new_admin(self._kafka)
        await admin.start()
        try:
            (answer,) = await admin.describe_consumer_groups([group_of(self._kafka, name)])
        finally:
            await admin.close()
        return sum(len(group["members"]) for group in answer.to_object()["groups"])

    async def _standing(self, name: str) -> Standing:
        return await self._of(named(await self._registry.all(), name))

    async def _of(self, generation: Generation) -> Standing:
        behind, fault = None, None
        try:
            self._fits(generation)
            behind = await self._behind(generation.name)
        except GenerationError as error:
            fault = str(error)
        return Standing(generation.name, generation.state, generation.created, behind, fault)
