"""The generations of one process: each a file and a runner of its own over the same log, one of them read.

All of them follow the log while the process runs, the live one first among equals: batches yield every few
milliseconds, so that a build takes what is left. Does not own the log, readers, nor when a command is given.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from ingest.log import ViewSource
from processors.rebuild.builds import CATCH_UP_SECONDS, Diff, Standing
from processors.rebuild.copy import Copy, stop, unlink, unread
from processors.rebuild.side_by_side import side_by_side
from processors.rebuild.skips_embedded import EmbeddedSkips
from processors.run_embedded import EmbeddedRunner, RunnerStoppedError
from schemas import crash
from schemas.errors import InvariantError
from schemas.topics import OPERATIONS, RECORDS
from views.generations import (
    FIRST,
    Generation,
    GenerationError,
    Skip,
    checked_name,
    live_of,
    named,
    next_name,
    shape_of,
)
from views.generations_sqlite import SqliteRegistry, file_of
from views.store_cached import CachedStore
from views.store_sqlite import SqliteStore
from views.view import FanoutSettings, View

_MOST = 3  # generations at once: each takes its part of the one core there is
_CACHE_MIB = 32  # of a generation that is not read
_SAID_SECONDS = 5.0
_LOG = "log"

_log = structlog.get_logger(__name__)


class EmbeddedGenerations:
    """`builds.Generations`; make one with `open`. `live` is what readers read; `switched` tells them."""

    def __init__(
        self,
        directory: Path,
        registry: SqliteRegistry,
        log: ViewSource,
        *,
        log_id: str,
        views: Sequence[View],
        settings: FanoutSettings | None = None,
        now: Callable[[], int],
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._directory = directory
        self._registry = registry
        self._log = log
        self._source = {_LOG: log_id}
        self.views = views
        self._settings = settings
        self._now = now
        self._on_failure = on_failure
        self._copies: dict[str, Copy] = {}
        self._faults: dict[str, str] = {}
        self._skips = EmbeddedSkips(registry, log, now)
        self._live = ""
        self._command = asyncio.Lock()
        self.switched: Callable[[Copy], None] = lambda _: None

    @property
    def live(self) -> Copy:
        return self._copies[self._live]

    def progress(self, topic: str = RECORDS) -> dict[str, Mapping[int, int]]:
        """By generation, up to which offset of each shard of a topic it is complete: what the log must keep."""
        return {name: copy.runner.reached_of(topic) for name, copy in self._copies.items()}

    async def open(self, *, upgrade: bool = True) -> None:
        """Go on with every generation; the first is made where there is none.

        `upgrade`: when the live one is of another shape, which this code can neither read nor write, build one of this
        shape before anything is read, and flip to it. Raises InvariantError.
        """
        found = await self._adopt()
        shape = shape_of([view.table for view in self.views])
        for each in found:
            if each.shape != shape:
                self._faults[each.name] = (
                    "its tables are of another shape than this version's: drop it, or go back to that version"
                )
            elif dict(each.source) != self._source or each.shards != self._log.shards:
                self._faults[each.name] = "it was built from another log: it can only be dropped"
                if each.state == "live":
                    raise InvariantError(
                        f"{file_of(self._directory, each.name)} was built from log {each.source.get(_LOG)}, the"
                        f" directory's is {self._source[_LOG]}: bring back that log, or move views*.sqlite and"
                        " generations.sqlite away and start: they are built again"
                    )
            else:
                await self._go_on(each)
        live = live_of(found)
        assert live is not None
        self._live = live.name
        if upgrade and live.name not in self._copies:
            await self._upgrade([each for each in found if each.shape == shape])

    async def _adopt(self) -> list[Generation]:
        found = await self._registry.all()
        if not found:
            tables = [view.table for view in self.views]
            shape = shape_of(tables)
            path = file_of(self._directory, FIRST)
            if path.exists():
                # Made before there was a registry: its own declaration says whether it is of this shape.
                try:
                    await SqliteStore(path, tables).close()
                except InvariantError:
                    shape = "unknown"
            await self._registry.add(self._new(FIRST, shape))
            found = await self._registry.all()
        return found

    def _new(self, name: str, shape: str) -> Generation:
        return Generation(name, "building", shape, self._source, self._now(), self._log.shards)

    async def _go_on(self, generation: Generation) -> None:
        try:
            await self._start(generation.name)
        except InvariantError as error:
            if generation.state == "live":
                raise
            self._faults[generation.name] = str(error)
            _log.critical("views.not_started", generation=generation.name, cause=str(error))
            return
        if generation.state == "building":
            self._watch(generation.name)

    async def _start(self, name: str) -> Copy:
        path = file_of(self._directory, name)
        store = SqliteStore(path, [view.table for view in self.views], cache_mib=_CACHE_MIB)
        cached = CachedStore(store)
        await self._skips.read()
        runner = EmbeddedRunner(
            self._log,
            cached.behind,
            self.views,
            self._settings,
            lambda failure: self._failed(name, failure),
            skipped={
                (topic, shard): self._skips.of_shard(shard, topic)
                for topic in (RECORDS, OPERATIONS)
                for shard in range(self._log.shards)
            },
        )
        try:
            await runner.start()
        except BaseException:
            await store.close()
            raise
        copy = self._copies[name] = Copy(name, path, store, runner, cached)
        return copy

    def _failed(self, name: str, failure: BaseException) -> None:
        self._faults[name] = repr(failure)
        if name == self._live and self._on_failure is not None:
            self._on_failure(failure)

    def _watch(self, name: str) -> None:
        self._copies[name].ready = asyncio.create_task(self._mark_ready(name))

    async def _mark_ready(self, name: str) -> None:
        runner = self._copies[name].runner
        try:
            await runner.process_all()
        except RunnerStoppedError:
            return
        await self._registry.mark_ready(name)
        _log.info("views.built", generation=name, entries=runner.entries)

    async def _upgrade(self, fitting: Sequence[Generation]) -> None:
        name = fitting[0].name if fitting else next_name(await self._registry.all())
        if not fitting:
            await self._begin(name)
        runner = self._copies[name].runner
        done = asyncio.ensure_future(runner.process_all())
        while not done.done():
            _log.warning("views.rebuilding", generation=name, instead_of=self._live, behind=runner.behind())
            await asyncio.wait((done,), timeout=_SAID_SECONDS)
        done.result()
        await self._registry.mark_ready(name)
        await self._registry.flip(name)
        self._live = name

    async def _begin(self, name: str) -> Copy:
        # What a drop that was cut short left behind belongs to nobody.
        unlink(file_of(self._directory, name))
        await self._registry.add(self._new(name, shape_of([view.table for view in self.views])))
        crash.point("generation.after_add")
        copy = await self._start(name)
        self._watch(name)
        return copy

    # --- commands ---

    async def build(self, name: str | None) -> Standing:
        async with self._command:
            found = await self._registry.all()
            name = checked_name(next_name(found) if name is None else name)
            if any(each.name == name for each in found):
                raise GenerationError(
                    f"there is a generation {name}: choose another name, or: headrace views drop {name}"
                )
            if len(found) >= _MOST:
                raise GenerationError(
                    f"there are {len(found)} generations, at most {_MOST} fit one process: drop one first"
                )
            await self._begin(name)
            return await self._standing(name)

    async def all(self) -> list[Standing]:
        return [self._of(each) for each in await self._registry.all()]

    async def diff(self, left: str, right: str) -> Diff:
        async with self._command:
            copies = [await self._standing_still(name) for name in (left, right)]
            return await side_by_side(copies[0], copies[1], self.views)

    async def flip(self, name: str) -> Standing:
        async with self._command:
            state = named(await self._registry.all(), name).state
            if name == self._live:
                raise GenerationError(f"{name} is live already")
            copy = await self._standing_still(name)
            if state == "building":
                raise GenerationError(
                    f"{name} has not seen all of the log yet, {copy.runner.behind()} entries are left:"
                    " wait until headrace views list says ready"
                )
            await self._catch_up(copy)
            crash.point("generation.before_flip")
            await self._registry.flip(name)
            crash.point("generation.after_flip")
            # No turn of the loop between the two: who asks from here on is answered from the new one.
            self._live = name
            self.switched(copy)
            return await self._standing(name)

    async def drop(self, name: str) -> Standing:
        async with self._command:
            generation = named(await self._registry.all(), name)
            if name == self._live:
                raise GenerationError(f"{name} is live: flip to another one first: headrace views flip NAME")
            standing = self._of(generation)
            copy = self._copies.pop(name, None)
            if copy is not None:
                await stop(copy)
            await self._registry.remove(name)
            crash.point("generation.mid_drop")
            if copy is not None:
                store = copy.store
                readers = weakref.ref(copy.cached)
                del copy
                if name not in self._faults:  # a failure keeps its frames, and nobody reads what stands still
                    await unread(readers)
                await store.close()
            unlink(file_of(self._directory, name))
            self._faults.pop(name, None)
            return standing

    async def skip(self, topic: str, shard: int, offset: int, reason: str) -> Skip:
        """Leave an entry out from the next start on. Raises GenerationError."""
        held = self.live.runner.vector() if self._live in self._copies else {}
        return await self._skips.put(topic, shard, offset, reason, held)

    async def skips(self) -> list[Skip]:
        return await self._registry.skips()

    def skipped(self, did: str, topic: str) -> frozenset[int]:
        """The offsets that are left out of the shard of an account."""
        return self._skips.of_account(did, topic)

    def standings(self) -> list[tuple[str, int | None, str | None]]:
        """(name, entries behind, why it does not go on) of each, as far as this process knows."""
        names = dict.fromkeys((*self._copies, *self._faults))
        behind = {name: copy.runner.behind() for name, copy in self._copies.items()}
        return [(name, behind.get(name), self._faults.get(name)) for name in names]

    @property
    def live_name(self) -> str:
        return self._live

    async def _standing_still(self, name: str) -> Copy:
        """The copy of a generation that is kept up. Raises GenerationError for one that is not."""
        named(await self._registry.all(), name)
        fault = self._faults.get(name)
        if fault is not None or name not in self._copies:
            raise GenerationError(f"{name} no longer follows the log ({fault}): build another: headrace views build")
        return self._copies[name]

    async def _catch_up(self, copy: Copy) -> None:
        """Nobody who has read the live one is to read less."""
        if self._live not in self._copies:
            return
        for (topic, shard), offset in self.live.runner.vector().items():
            if not await copy.runner.reached(shard, offset, CATCH_UP_SECONDS, topic):
                raise GenerationError(
                    f"{copy.name} is {copy.runner.behind()} entries behind: try again when it has caught up"
                )

    async def _standing(self, name: str) -> Standing:
        return self._of(named(await self._registry.all(), name))

    def _of(self, generation: Generation) -> Standing:
        copy = self._copies.get(generation.name)
        behind = None if copy is None else copy.runner.behind()
        return Standing(
            generation.name, generation.state, generation.created, behind, self._faults.get(generation.name)
        )

    async def settled(self) -> None:
        """Return when every generation that is kept up has seen the log and is marked so."""
        for copy in list(self._copies.values()):
            await copy.runner.process_all()
            if copy.ready is not None:
                await asyncio.wait((copy.ready,))

    async def close(self) -> None:
        for copy in self._copies.values():
            await stop(copy)
            await copy.store.close()
        self._copies.clear()
