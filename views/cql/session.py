"""Statements over scylla-driver, awaited. The only file that imports it.

The driver answers on a thread of its own: answers are handed to the loop in bursts, one wake-up each. What the store
could not say yes to (time-out, too few replicas, no connection) is asked again, with growing pauses, for as long as
`patience` says. Does not own what is asked.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import AsyncIterator, Hashable, Sequence
from functools import partial
from typing import Any, Final, Literal, Protocol

import msgspec
from cassandra import (
    ConsistencyLevel,
    CoordinationFailure,
    InvalidRequest,
    OperationTimedOut,
    Timeout,
    Unauthorized,
    Unavailable,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, ResponseFuture, Session
from cassandra.connection import ConnectionException
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    FallthroughRetryPolicy,
    LoadBalancingPolicy,
    RoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import (
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    SyntaxException,
)
from cassandra.query import BatchStatement, BatchType, SimpleStatement, named_tuple_factory, tuple_factory

from schemas.errors import InvariantError
from views.table import Row

Prepared = Any  # a PreparedStatement: `bind(values)` makes a statement of it
Statement = Any  # a bound or plain statement, or a batch of them

IN_FLIGHT: Final = 256  # statements of one process at the store; what is asked beyond them waits here, in order
_AT_ONCE: Final = 31  # sending one costs the loop 0.1 to 0.2 ms: others have their turn after so many
_ROWS: Final = "rows"  # answers are tuples; the driver's own questions want names
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
PAGE_PATIENCE: Final = 6  # times as long as another statement: a page of a scan
_ADMIN_SECONDS: Final = 60.0
_AGAIN: Final = (
    OperationTimedOut,
    Timeout,
    Unavailable,
    CoordinationFailure,
    NoHostAvailable,
    ConnectionException,
    OverloadedErrorMessage,
    IsBootstrappingErrorMessage,
    ServerError,
)
_OURS: Final = (InvalidRequest, SyntaxException, Unauthorized)


class StoreUnavailableError(Exception):
    """The store did not acknowledge in time; what was asked may have taken effect, and may be asked again."""


class CqlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is and what it must promise. `datacenter` decides the replication strategy of new keyspaces."""

    hosts: tuple[str, ...]
    port: int = 9042
    keyspace: str = "headrace"
    datacenter: str | None = None
    replication: int = 1
    consistency: str = "LOCAL_QUORUM"
    username: str | None = None
    password: str | None = None
    ssl_ca: str | None = None
    epoch: int = 0
    driver: Literal["scylla-driver", "acsylla"] = "scylla-driver"
    """What carries rows; schema is scylla-driver's in any case."""
    timeout: float = 5.0
    """Seconds that one attempt may take."""
    patience: float = 60.0
    """Seconds for which a statement is asked again before whoever asked is told that the store is away."""

    def __repr__(self) -> str:
        """Without what is secret."""
        return f"CqlSettings(hosts={self.hosts!r}, port={self.port!r}, keyspace={self.keyspace!r})"


class Rows(Protocol):
    """What the store asks of a driver; `CqlSession` is one."""

    repeated: int

    async def prepare(self, text: str, *, page_size: int | None = None) -> Prepared: ...

    def batch(self, statements: Sequence[Statement]) -> Statement: ...

    def home(self, statement: Statement) -> Hashable: ...

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]: ...

    def pages(self, statement: Statement) -> AsyncIterator[list[Row]]: ...

    async def close(self) -> None: ...


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
        cluster = _cluster(settings)
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
                f"no CQL store answers at {', '.join(settings.hosts)} port {settings.port} ({_reason(error)}):"
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
            except _OURS as error:
                raise InvariantError(f"the store refuses {text!r}: {error}") from error
            except _AGAIN as error:
                waited = self._loop.time() - since
                if waited >= self._settings.patience:
                    raise away(waited, error) from error
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
        wait = self._session.wait_for_schema_agreement
        agreed = await asyncio.to_thread(wait, wait_time=30)
        if not agreed:
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
                item.statement, item.values, timeout=item.timeout, execution_profile=_ROWS, paging_state=item.paging
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
        if isinstance(error, _OURS):
            fault = InvariantError(f"the store refuses a statement of ours: {error}")
            fault.__cause__ = error
            done.set_exception(fault)
        elif not isinstance(error, _AGAIN):
            done.set_exception(error)
        else:
            if item.since is None:
                item.since = now
            waited = now - item.since
            if self._closed or waited >= item.patience:
                told = closed() if self._closed else away(waited, error)
                told.__cause__ = error
                done.set_exception(told)
                return
            self.repeated += 1
            self._loop.call_later(item.pause, self._again, item)
            item.pause = min(2 * item.pause, LONGEST_PAUSE)

    def _again(self, item: _Item) -> None:
        if not item.asked.done.done():
            self._start(item)


def _cluster(settings: CqlSettings) -> Cluster:
    try:
        consistency = ConsistencyLevel.name_to_value[settings.consistency]
    except KeyError:
        names = ", ".join(sorted(ConsistencyLevel.name_to_value))
        raise InvariantError(f"consistency {settings.consistency!r}: expected one of {names}") from None
    # What a token's owners are is the driver's to know; one attempt is one attempt: repeating is done here.
    near: LoadBalancingPolicy = RoundRobinPolicy()
    if settings.datacenter is not None:
        near = DCAwareRoundRobinPolicy(local_dc=settings.datacenter)
    profile = partial(
        ExecutionProfile, TokenAwarePolicy(near), FallthroughRetryPolicy(), consistency, None, settings.timeout
    )
    auth = None
    if settings.username is not None:
        auth = PlainTextAuthProvider(settings.username, settings.password or "")
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)  # its warnings come by the connection, without bound
    return Cluster(
        contact_points=list(settings.hosts),
        port=settings.port,
        protocol_version=4,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile(named_tuple_factory), _ROWS: profile(tuple_factory)},
        connection_class=LibevConnection,
        reconnection_policy=ExponentialReconnectionPolicy(0.2, 5.0),
        auth_provider=auth,
        ssl_context=tls(settings),
        connect_timeout=settings.timeout,
        schema_event_refresh_window=-1,
        idle_heartbeat_interval=5,
        idle_heartbeat_timeout=5,
    )


def tls(settings: CqlSettings) -> ssl.SSLContext | None:
    """What the store's certificate is checked by; None where nothing is encrypted. Raises InvariantError."""
    if settings.ssl_ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=settings.ssl_ca)
    except (OSError, ssl.SSLError) as error:
        raise InvariantError(
            f"ssl_ca {settings.ssl_ca}: expected a PEM file of the authorities that sign the store's certificates,"
            f" found {error}"
        ) from error


def away(waited: float, error: BaseException) -> StoreUnavailableError:
    return StoreUnavailableError(f"the store did not acknowledge for {waited:.0f} s: {_reason(error)}")


def closed() -> StoreUnavailableError:
    return StoreUnavailableError("the session was closed before the store acknowledged")


def _reason(error: BaseException) -> str:
    if isinstance(error, NoHostAvailable) and isinstance(error.errors, dict) and error.errors:
        return "; ".join(f"{host}: {each}" for host, each in list(error.errors.items())[:3])
    return str(error) or type(error).__name__
