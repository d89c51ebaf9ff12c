"""Statements over scylla-driver, awaited.

The driver answers on a thread of its own: answers are handed to the loop in bursts, one wake-up each. What the store
could not say yes to (time-out, too few replicas, no connection) is asked again, with growing pauses, for as long as
`patience` says. Does not own what is asked, nor how it connects (`views.cql.scylla_driver`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable, Sequence
from functools import partial
from typing import Any, Final

from cassandra.cluster import Cluster, NoHostAvailable, ResponseFuture, Session
from cassandra.query import BatchStatement, BatchType, SimpleStatement

from schemas.errors import InvariantError
from views.cql.driver import (
    FIRST_PAUSE,
    IN_FLIGHT,
    LONGEST_PAUSE,
    PAGE_PATIENCE,
    Prepared,
    Statement,
    StoreUnavailableError,
    away,
    closed,
)
from views.cql.scylla_driver import AGAIN, OURS, ROWS, new_cluster, reason
from views.cql.settings import CqlSettings
from views.table import Row

_AT_ONCE: Final = 31  # sending one costs the loop 0.1 to 0.2 ms: others have their turn after so many
_ADMIN_SECONDS: Final = 60.0


class _Asked:
    """One call of `run`: answers in the order of its statements."""

    __slots__ = ("answers", "done", "left")

    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        self.answers: list[list[Row]] = [[] for _ in range(count)]
        self.left = count
        self.done = done


class _Item:
    __slots__ = (
        "asked", "future", "page", "paging", "patience", "pause", "place", "since", "statement", "timeout", "values",
    )  # fmt: skip

    def __init__(self, asked: _Asked, place: int, statement: Statement, settings: CqlSettings) -> None:
        self.asked = asked
        self.place = place
        self.statement = statement
        self.values: tuple[Any, ...] | None = None
        self.timeout = settings.timeout
        self.patience = settings.patience
        self.page = False
        """One page is the answer; `paging` says where the next begins."""
        self.paging: bytes | None = None
        self.pause = FIRST_PAUSE
        self.since: float | None = None
        self.future: ResponseFuture | None = None


class CqlSession:
    """Made by `connect`; used from one event loop at a time. HOT."""

    def __init__(self, cluster: Cluster, session: Session, settings: CqlSettings) -> None:
        self._cluster = cluster
        self._session = session
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Item] = deque()
        self._in_flight = 0
        self._arrived: deque[tuple[_Item, list[Row] | None, Exception | None]] = deque()
        self._woken = False
        self._closed = False
        self.repeated = 0
        """Statements that were asked again."""

    @classmethod
    async def connect(cls, settings: CqlSettings) -> CqlSession:
        """Raises InvariantError for settings that reach no store."""
        cluster = new_cluster(settings)
        try:
            session = await asyncio.to_thread(cluster.connect)
        except NoHostAvailable as error:
            found = sorted({host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter})
            await asyncio.to_thread(cluster.shutdown)
            if found and settings.datacenter not in (None, *found):
                raise InvariantError(
                    f"the store has no datacenter {settings.datacenter!r}, found {', '.join(found)}:"
                    " set the one that this process is to read and write"
                ) from error
            raise InvariantError(
                f"no CQL store answers at {', '.join(settings.hosts)} port {settings.port} ({reason(error)}):"
                " check the hosts, the port, the credentials and whether it wants TLS"
            ) from error
        except BaseException:
            await asyncio.to_thread(cluster.shutdown)
            raise
        return cls(cluster, session, settings)

    async def close(self) -> None:
        """Who waits for an answer is told that there is none."""
        self._closed = True
        await asyncio.to_thread(self._cluster.shutdown)

    async def prepare(self, text: str, *, page_size: int | None = None) -> Prepared:
        """Raises as `run` does."""
        since, pause = self._loop.time(), FIRST_PAUSE
        while True:
            try:
                prepared = await asyncio.to_thread(self._session.prepare, text)
            except OURS as error:
                raise InvariantError(f"the store refuses {text!r}: {error}") from error
            except AGAIN as error:
                waited = self._loop.time() - since
                if waited >= self._settings.patience:
                    raise away(waited, reason(error)) from error
                self.repeated += 1
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if page_size is not None:
                    prepared.fetch_size = page_size
                return prepared

    @staticmethod
    def batch(statements: Sequence[Statement]) -> Statement:
        """One mutation, if all are of one partition; the only statement as it is."""
        if len(statements) == 1:
            return statements[0]
        batch = BatchStatement(BatchType.UNLOGGED)
        for statement in statements:
            batch.add(statement)
        return batch

    def home(self, statement: Statement) -> Hashable:
        """The nodes that hold its partition: mutations of one home in one batch cost no hop more than one does."""
        if self.everywhere:
            return ()
        metadata = self._cluster.metadata
        return tuple(metadata.get_replicas(statement.keyspace, statement.routing_key)) or None

    @property
    def everywhere(self) -> bool:
        """Whether each node has every partition."""
        return len(self._cluster.metadata.all_hosts()) <= self._settings.replication

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """All answers, in the order of the statements; they run at once, bounded by what the process may have out.

        Raises StoreUnavailableError when one was not answered within `patience`; others may have taken effect.
        """
        if not statements:
            return []
        asked = self._ask(len(statements))
        try:
            for place, statement in enumerate(statements):
                self._start(_Item(asked, place, statement, self._settings))
                if place & _AT_ONCE == _AT_ONCE:
                    await asyncio.sleep(0)
            await asked.done
        finally:
            asked.done.cancel()  # whoever was cut off reads no failure
        return asked.answers

    async def pages(self, statement: Statement) -> AsyncIterator[list[Row]]:
        """The answer page by page: a table's scan is never held whole."""
        paging: bytes | None = None
        while True:
            asked = self._ask(1)
            item = _Item(asked, 0, statement, self._settings)
            item.timeout *= PAGE_PATIENCE
            item.page, item.paging = True, paging
            self._start(item)
            await asked.done
            yield asked.answers[0]
            paging = item.paging
            if paging is None:
                return

    async def admin(self, text: str, values: Sequence[Any] = ()) -> list[Row]:
        """A statement of schema or a lock's: slow, rare, asked once."""
        asked = self._ask(1)
        item = _Item(asked, 0, SimpleStatement(text), self._settings)
        item.values = tuple(values) or None
        item.timeout, item.patience = _ADMIN_SECONDS, 0.0
        self._start(item)
        await asked.done
        return asked.answers[0]

    async def agree(self) -> None:
        """Wait until all nodes see one schema. Raises StoreUnavailableError."""
        if not await asyncio.to_thread(self._session.wait_for_schema_agreement, wait_time=30):
            raise StoreUnavailableError("the store's nodes did not agree on the schema within 30 s")

    def _ask(self, count: int) -> _Asked:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._in_flight:
                raise InvariantError("a CqlSession is used from two event loops at once")
            self._loop = loop
        return _Asked(count, loop.create_future())

    def _start(self, item: _Item) -> None:
        if self._in_flight >= IN_FLIGHT:
            self._waiting.append(item)
        else:
            self._in_flight += 1
            self._send(item)

    def _send(self, item: _Item) -> None:
        try:
            future = self._session.execute_async(
                item.statement, item.values, timeout=item.timeout, execution_profile=ROWS, paging_state=item.paging
            )
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            self._arrive(item, None, error)
            return
        item.future = future
        future.add_callbacks(partial(self._arrive, item), partial(self._arrive, item, None))

    def _arrive(self, item: _Item, rows: list[Row] | None, error: Exception | None = None) -> None:
        """On the driver's thread."""
        self._arrived.append((item, rows, error))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._take_arrived)

    def _take_arrived(self) -> None:
        self._woken = False
        arrived = self._arrived
        while arrived:
            item, rows, error = arrived.popleft()
            if error is None:
                self._answered(item, rows)
            else:
                self._failed(item, error)
        self._send_waiting()

    def _send_waiting(self) -> None:
        for _ in range(_AT_ONCE):
            if not self._waiting or self._in_flight >= IN_FLIGHT:
                return
            item = self._waiting.popleft()
            if not item.asked.done.done():
                self._in_flight += 1
                self._send(item)
        self._loop.call_soon(self._send_waiting)

    def _answered(self, item: _Item, rows: list[Row] | None) -> None:
        asked = item.asked
        future, item.future = item.future, None
        paging = future._paging_state if future is not None else None  # noqa: SLF001 - its accessor is a result set
        if rows:
            asked.answers[item.place] += rows
        item.paging = paging
        if paging is not None and not item.page and not asked.done.done():
            item.pause, item.since = FIRST_PAUSE, None
            self._send(item)
            return
        self._in_flight -= 1
        asked.left -= 1
        if asked.left == 0 and not asked.done.done():
            asked.done.set_result(None)

    def _failed(self, item: _Item, error: Exception) -> None:
        done, now = item.asked.done, self._loop.time()
        self._in_flight -= 1
        if done.done():
            return
        if isinstance(error, OURS):
            fault = InvariantError(f"the store refuses a statement of ours: {error}")
            fault.__cause__ = error
            done.set_exception(fault)
        elif not isinstance(error, AGAIN):
            done.set_exception(error)
        else:
            if item.since is None:
                item.since = now
            waited = now - item.since
            if self._closed or waited >= item.patience:
                told = closed() if self._closed else away(waited, reason(error))
                told.__cause__ = error
                done.set_exception(told)
                return
            self.repeated += 1
            self._loop.call_later(item.pause, self._again, item)
            item.pause = min(2 * item.pause, LONGEST_PAUSE)

    def _again(self, item: _Item) -> None:
        if not item.asked.done.done():
            self._start(item)
