"""One generation's views in a keyspace of a CQL store: Apache Cassandra or ScyllaDB.

Batches may be torn here: `apply` writes in the order of `views.cql.order`, each statement at the version of its own
entry, so that a redo and a worker that lost its shard are harmless. Does not own statements' text (`views.cql.text`),
schema (`views.cql.schema`) nor the driver (`views.cql.session`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from schemas import crash, tracing
from schemas.errors import InvariantError
from schemas.timings import Timings
from views.cql import lookup, text
from views.cql import schema as cql_schema
from views.cql.driver import Prepared, Rows, StoreUnavailableError
from views.cql.order import WAVES, waves
from views.cql.progress import merged, progress_from, progress_partition
from views.cql.schema import PROGRESS
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings
from views.cql.slices import ranges
from views.cql.write import Writer
from views.store import Batch, Progress
from views.table import Key, Row, Table
from views.versions import PUT, version

__all__ = ["CqlSettings", "ScyllaStore", "StoreUnavailableError", "reads_fast"]

_PAGE: Final = 5_000
_BLOB_PAGE: Final = 500  # rows of a table with blobs in it: 2 KB each, some a hundred times that


class ScyllaStore:
    """`views.store.Store`, but for two things: a reader may see a batch in part, and so may who opens after a crash.

    HOT. Many processes write at once, each the partitions of its lanes.
    """

    def __init__(self, session: Rows, settings: CqlSettings, generation: str) -> None:
        self._session = session
        self.reads, self.writes = Timings(), Timings()
        self._settings = settings
        self.generation = generation
        self.keyspace = cql_schema.keyspace_of(settings, generation)
        self._prepared: dict[Any, Prepared] = {}
        self._writer = Writer(settings.epoch, self._statement, session.batch, session.home)

    @classmethod
    async def open(
        cls, settings: CqlSettings, generation: str, tables: Sequence[Table], *, create: bool
    ) -> ScyllaStore:
        """Any number may create at once. Raises InvariantError for what is of another shape, or not there."""
        cql_schema.keyspace_of(settings, generation)
        version(settings.epoch, 0, PUT)
        session = await CqlSession.connect(settings)
        try:
            await cql_schema.ensure(session, settings, generation, tables, create=create)
        except BaseException:
            await session.close()
            raise
        if settings.driver == "scylla-driver":
            return cls(session, settings, generation)
        everywhere = session.everywhere
        await session.close()
        try:
            from views.cql.acsylla import AcsyllaSession  # noqa: PLC0415 - installed by those who choose it
        except ImportError as error:
            raise InvariantError("driver acsylla is set and not installed: pip install acsylla, or unset it") from error
        return cls(await AcsyllaSession.connect(settings, everywhere=everywhere), settings, generation)

    @staticmethod
    async def drop(settings: CqlSettings, generation: str) -> None:
        """All of a generation's rows and progress; nobody may have it open."""
        session = await CqlSession.connect(settings)
        try:
            await cql_schema.drop(session, settings, generation)
        finally:
            await session.close()

    async def close(self) -> None:
        await self._session.close()

    @property
    def repeated(self) -> int:
        """Statements that the store did not acknowledge at once, ever."""
        return self._session.repeated

    async def _read(self, statements: Sequence[Any]) -> list[list[Row]]:
        if tracing.TRACER is None:
            return await self.reads.of(self._session.run(statements))
        with tracing.call("cql read", {"db.operation.batch.size": len(statements)}):
            return await self.reads.of(self._session.run(statements))

    async def _write(self, statements: Sequence[Any]) -> list[list[Row]]:
        if tracing.TRACER is None:
            return await self.writes.of(self._session.run(statements))
        with tracing.call("cql write", {"db.operation.batch.size": len(statements)}):
            return await self.writes.of(self._session.run(statements))

    async def get_many(self, table: Table, keys: Sequence[Key]) -> list[Row | None]:
        if not keys:
            return []
        width = len(keys[0])
        if not table.key_size - 1 <= width <= table.key_size or width < table.partition_size:
            raise InvariantError(f"{table.name} is not looked up by {width} of its {table.key_size} key columns")
        if len(keys) > 1 and width > table.partition_size:
            return await self._get_grouped(table, width, keys)
        return await self._get_each(table, width, keys)

    async def _get_each(self, table: Table, width: int, keys: Sequence[Key]) -> list[Row | None]:
        bind = (await self._get(table, width)).bind
        answers = await self._read([bind(key) for key in keys])
        if width == table.partition_size < table.key_size and table.statics:
            return [None if not rows or rows[0][width] is None else rows[0] for rows in answers]
        return [rows[0] if rows else None for rows in answers]

    async def _get_grouped(self, table: Table, width: int, keys: Sequence[Key]) -> list[Row | None]:
        """One statement for those of one partition."""
        groups = lookup.grouped(table, keys)
        if len(groups) == len(keys):
            return await self._get_each(table, width, keys)
        alone = (await self._get(table, width)).bind
        together = await self._get_together(table, width)
        limits = [lookup.limit_of(table, group) for group in groups]
        asked = [
            alone(group[0]) if len(group) == 1 else together.bind(lookup.values_of(table, group, limit))
            for group, limit in zip(groups, limits, strict=True)
        ]
        rows: dict[Key, Row | None] = {}
        again: list[Key] = []
        for group, limit, answer in zip(groups, limits, await self._read(asked), strict=True):
            first, cut_off = lookup.found(group, answer, limit)
            rows.update(first)
            again += cut_off
        if again:
            rows.update(zip(again, await self._get_each(table, width, again), strict=True))
        return [rows.get(key) for key in keys]

    async def _get(self, table: Table, width: int) -> Prepared:
        statement = self._prepared.get((table, width))
        if statement is None:
            statement = await self._prepare((table, width), text.get(self.keyspace, table, width), table)
        return statement

    async def _get_together(self, table: Table, width: int) -> Prepared:
        key = (table, "together", width)
        statement = self._prepared.get(key)
        if statement is None:
            statement = await self._prepare(key, text.get_together(self.keyspace, table, width), table)
        return statement

    async def statics(self, table: Table, partitions: Sequence[Key]) -> list[Row | None]:
        if not partitions:
            return []
        statement = await self._statement(table, "statics")
        bind, width = statement.bind, table.partition_size
        answers = await self._read([bind(key) for key in partitions])
        return [_written(rows[0][width:]) if rows else None for rows in answers]

    async def slice(
        self,
        table: Table,
        partition: Key,
        *,
        after: Key | None = None,
        until: Key | None = None,
        limit: int,
        reverse: bool = False,
    ) -> list[Row]:
        if limit <= 0:
            return []
        statements = []
        for where, values in ranges(table, partition, after, until, reverse=reverse):
            key = (table, where, reverse)
            statement = self._prepared.get(key)
            if statement is None:
                cql = text.slice_(self.keyspace, table, where, reverse=reverse)
                statement = await self._prepare(key, cql, table)
            statements.append(statement.bind((*values, limit)))
        found = [row for rows in await self._read(statements) for row in rows][:limit]
        # A partition of statics alone answers with one row that is none.
        if len(found) == 1 and table.statics and found[0][table.partition_size] is None:
            return []
        return found

    async def beginnings(self, table: Table, partitions: Sequence[Key], *, limit: int) -> list[list[Row]]:
        """At most `limit` first rows of each partition, in the order asked: what `views.store.Remote` adds."""
        if not partitions or limit <= 0:
            return [[] for _ in partitions]
        statement = await self._statement(table, "beginning")
        answers = await self._read([statement.bind((*partition, limit)) for partition in partitions])
        if not table.statics:
            return answers
        place = table.partition_size
        # A partition of statics alone answers with one row that is none.
        return [[] if len(rows) == 1 and rows[0][place] is None else rows for rows in answers]

    async def apply(self, batch: Batch) -> None:
        """The batch again is harmless, also cut otherwise, also late. Cut off, it is to be redone from its progress.

        Raises StoreUnavailableError when the store does not acknowledge for too long: what was written then stands.
        """
        planned = [await self._writer.statements(part, batch) for part in waves(batch)]
        progress = await self._writer.progress(progress_partition(batch))
        for number in range(WAVES):
            first, last = planned[number]
            # Of a partition too large for one mutation: what must not be seen before the rest is acknowledged.
            await self._write(first)
            await self._write(last)
            crash.point(_POINTS[number])
        await self._write(progress)

    async def reach(self, topic: str, shard: int, offset: int) -> None:
        """Say that a lane goes to write what comes up to `offset`; raises as `apply` does."""
        await self._write([await self._writer.reach(topic, shard, offset)])

    async def progress(self) -> Progress:
        """Of all lanes."""
        return await merged(self.scan_with_statics(PROGRESS))

    async def progress_of(self, topic: str, shard: int) -> Progress:
        """Of one lane; empty when nobody has taken it yet."""
        statement = await self._statement(PROGRESS, "lane")
        (rows,) = await self._read([statement.bind((topic, shard))])
        return progress_from(rows)

    async def scan(self, table: Table) -> AsyncIterator[Row]:
        """Every row, in no order across partitions: for digests, not for readers."""
        place = table.partition_size
        statement = await self._statement(table, "scan")
        async for rows in self._session.pages(statement.bind(())):
            for row in rows:
                if not table.statics or row[place] is not None:
                    yield row

    async def scan_statics(self, table: Table) -> AsyncIterator[Row]:
        """(partition, statics) of every partition where they were ever written."""
        place = table.partition_size
        statement = await self._statement(table, "scan_statics")
        async for rows in self._session.pages(statement.bind(())):
            for row in rows:
                if _written(row[place:]) is not None:
                    yield row

    async def scan_with_statics(self, table: Table) -> AsyncIterator[Row]:
        """Rows followed by their partition's statics; one without a row's values where there are statics alone."""
        statement = await self._statement(table, "scan_all")
        async for rows in self._session.pages(statement.bind(())):
            for row in rows:
                yield row

    async def _statement(self, table: Table, what: str) -> Prepared:
        statement = self._prepared.get((table, what))
        if statement is None:
            statement = await self._prepare((table, what), text.MAKERS[what](self.keyspace, table), table)
        return statement

    async def _prepare(self, key: Any, cql: str, table: Table) -> Prepared:
        size = _BLOB_PAGE if any(column.kind == "blob" for column in table.columns) else _PAGE
        prepared = self._prepared[key] = await self._session.prepare(cql, page_size=size)
        return prepared


def reads_fast() -> bool:
    """Whether the driver that asks with least CPU is installed, and can be loaded here."""
    try:
        from views.cql import acsylla  # noqa: F401, PLC0415 - installed or not
    except ImportError:
        return False
    return True


_POINTS: Final = ("lane.after_rows", "lane.after_deciding", "lane.after_before_images")


def _written(statics: Row) -> Row | None:
    return None if all(value is None for value in statics) else tuple(statics)
