"""What `headrace up` and the commands on a directory at rest make of its views alike. Holds no logic."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import views
from headrace.lock import DirectoryError, DirectoryLock
from headrace.running import Running
from headrace.settings import Settings
from headrace.wiring import shared
from ingest.log import ViewSource
from ingest.log_sqlite.accounts import SqliteAccounts
from ingest.log_sqlite.log import SqliteLog
from ingest.log_sqlite.schema import id_of
from processors.rebuild.embedded import EmbeddedGenerations
from views.generations_sqlite import SqliteRegistry

LOG = "log.sqlite"


async def generations(
    running: Running, settings: Settings, log: ViewSource, *, upgrade: bool = True
) -> EmbeddedGenerations:
    """The views of a data directory; every generation goes on."""
    registry = SqliteRegistry(settings.data)
    running.push(registry.close)
    made = EmbeddedGenerations(
        settings.data,
        registry,
        log,
        log_id=id_of(settings.data / LOG),
        views=views.ALL,
        settings=shared.fanout_settings(settings),
        now=shared.unix_micros,
        on_failure=running.fail,
    )
    running.push(made.close)
    await made.open(upgrade=upgrade)
    return made


def log_accounts(running: Running, directory: Path) -> SqliteAccounts:
    accounts = SqliteAccounts(directory / LOG)
    running.push(accounts.close)
    return accounts


@asynccontextmanager
async def at_rest(settings: Settings) -> AsyncIterator[EmbeddedGenerations]:
    """The generations of a directory that no process serves. Raises LockedError, DirectoryError, InvariantError."""
    directory = settings.data
    if not (directory / LOG).exists():
        raise DirectoryError(directory, FileNotFoundError(2, "it holds no log"))
    running = Running()
    try:
        running.callback(DirectoryLock(directory).release)
        log = await SqliteLog.open(directory / LOG, shards=settings.shards)
        running.push(log.close)
        yield await generations(running, settings, log, upgrade=False)
    finally:
        await running.close()
