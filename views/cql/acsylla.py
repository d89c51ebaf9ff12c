"""Statements over acsylla (ScyllaDB's C++ driver, awaited). The only file that imports it.

For rows alone, where `CqlSettings.driver` asks for it: a seventh to a third of scylla-driver's CPU a statement
(docs/decisions/0008-cql-driver.md). Promises what `views.cql.driver` says; schema stays there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import acsylla
from acsylla import errors

from schemas.errors import InvariantError
from views.cql.driver import FIRST_PAUSE, IN_FLIGHT, LONGEST_PAUSE, PAGE_PATIENCE, Prepared, Statement, away, closed
from views.cql.settings import CqlSettings
from views.table import Row

_OURS: Final = (
    errors.CassErrorServerInvalidQuery,
    errors.CassErrorServerSyntaxError,
    errors.CassErrorServerUnauthorized,
)
# What the store could not say yes to, or what did not reach it. Anything else is raised as it is.
_AGAIN: Final = (
    errors.CassErrorLibRequestTimedOut,
    errors.CassErrorLibNoHostsAvailable,
    errors.CassErrorLibNoStreams,
    errors.CassErrorLibRequestQueueFull,
    errors.CassErrorLibWriteError,
    errors.CassErrorLibUnexpectedResponse,
    errors.CassErrorLibUnableToConnect,
    errors.CassErrorLibUnableToSetKeyspace,
    errors.CassErrorServerServerError,
    errors.CassErrorServerOverloaded,
    errors.CassErrorServerIsBootstrapping,
    errors.CassErrorServerUnavailable,
    errors.CassErrorServerUnprepared,
    errors.CassErrorServerReadTimeout,
    errors.CassErrorServerReadFailure,
    errors.CassErrorServerWriteTimeout,
    errors.CassErrorServerWriteFailure,
)
_TOLD: Final = (*_AGAIN, *_OURS)

_CLOSE_SECONDS: Final = 10.0
_BATCH: Final = type(acsylla.create_batch_unlogged())  # its public name is a base class that nothing inherits from


class _Prepared:
    def __init__(self, prepared: Any, page_size: int | None) -> None:
        self._bind = prepared.bind
        self._page_size = page_size

    def bind(self, values: Sequence[Any]) -> Statement:
        return self._bind(list(values), page_size=self._page_size)


class AcsyllaSession:
    """Made by `connect`; used from one event loop. HOT."""

    def __init__(self, session: Any, settings: CqlSettings, *, everywhere: bool = False) -> None:
        self._session = session
        self._settings = settings
        self._home = () if everywhere else None
        self._gate = asyncio.Semaphore(IN_FLIGHT)
        self._closed = False
        self.repeated = 0
        """Statements that were asked again."""

    @classmethod
    async def connect(cls, settings: CqlSettings, *, everywhere: bool = False) -> AcsyllaSession:
        """After a `CqlSession` has connected with the same settings, and found fault with none.

        `everywhere`: each node has every partition. Where that ceases to be so, a shared request takes a hop more.
        """
        cluster = acsylla.create_cluster(
            list(settings.hosts),
            port=settings.port,
            username=settings.username,
            password=settings.password,
            consistency=settings.consistency,
            connect_timeout=settings.timeout,
            request_timeout=settings.timeout,
            retry_policy="fallthrough",
            load_balance_dc_aware=settings.datacenter,
            exponential_reconnect_base_delay_ms=200,
            exponential_reconnect_max_delay_ms=5_000,
            heartbeat_interval_sec=5,
            idle_timeout_sec=10,
            log_level="disabled",
            **await _tls(settings),
        )
        return cls(await cluster.create_session(), settings, everywhere=everywhere)

    async def close(self) -> None:
        """What is still out is waited for, but not for long; nothing is asked again."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._session.close()

    async def prepare(self, text: str, *, page_size: int | None = None) -> Prepared:
        return _Prepared(await self._acknowledged(lambda: self._session.create_prepared(text)), page_size)

    @staticmethod
    def batch(statements: Sequence[Statement]) -> Statement:
        """One mutation, if all are of one partition; the only statement as it is."""
        if len(statements) == 1:
            return statements[0]
        batch = acsylla.create_batch_unlogged()
        for statement in statements:
            batch.add_statement(statement)
        return batch

    def home(self, _statement: Statement) -> tuple[()] | None:
        """Known only where it is everywhere: this driver does not say."""
        return self._home

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """As `CqlSession.run`."""
        if len(statements) == 1:
            return [await self._all(statements[0])]
        tasks = [asyncio.create_task(self._all(statement)) for statement in statements]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            # Whoever asked has given up: what waits is not asked, what failed is not asked again.
            for task in tasks:
                task.cancel()
            raise

    async def pages(self, statement: Statement) -> AsyncIterator[list[Row]]:
        """As `CqlSession.pages`."""
        statement.set_timeout(PAGE_PATIENCE * self._settings.timeout)
        while True:
            result = await self._acknowledged(lambda: self._session.execute(statement))
            yield [tuple(row.as_list()) for row in result]
            if not result.has_more_pages():
                return
            statement.set_page_state(result.page_state())

    async def _all(self, statement: Statement) -> list[Row]:
        session = self._session
        async with self._gate:
            if type(statement) is _BATCH:
                await self._acknowledged(lambda: session.execute_batch(statement))
                return []
            result = await self._acknowledged(lambda: session.execute(statement))
            rows: list[Row] = [tuple(row.as_list()) for row in result]
            while result.has_more_pages():
                statement.set_page_state(result.page_state())
                result = await self._acknowledged(lambda: session.execute(statement))
                rows += [tuple(row.as_list()) for row in result]
            return rows

    async def _acknowledged(self, call: Callable[[], Awaitable[Any]]) -> Any:
        if self._closed:
            raise closed()
        try:
            return await call()
        except _TOLD as error:
            return await self._again(call, error)

    async def _again(self, call: Callable[[], Awaitable[Any]], error: Exception) -> Any:
        clock = asyncio.get_running_loop().time
        since, pause = clock(), FIRST_PAUSE
        while True:
            if isinstance(error, _OURS):
                raise InvariantError(f"the store refuses a statement of ours: {error}") from error
            waited = clock() - since
            if waited >= self._settings.patience:
                raise away(waited, str(error) or type(error).__name__) from error
            self.repeated += 1
            await asyncio.sleep(pause)
            if self._closed:
                raise closed() from error
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                return await call()
            except _TOLD as again:
                error = again


async def _tls(settings: CqlSettings) -> dict[str, Any]:
    if settings.ssl_ca is None:
        return {}
    trusted = await asyncio.to_thread(Path(settings.ssl_ca).read_text)
    verify = acsylla.SSLVerifyFlags.PEER_IDENTITY
    return {"ssl_enabled": True, "ssl_trusted_cert": trusted, "ssl_verify_flags": verify}
