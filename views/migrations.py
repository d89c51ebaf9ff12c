"""What stands in the meta keyspace, step by step, and one process at a time that changes schema.

The meta keyspace bears the name of the settings alone; each generation has a keyspace of its own, whose tables are
never altered: another shape is another generation. A step that has been released is never edited: add one.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from schemas.errors import InvariantError
from views.cql.driver import StoreUnavailableError
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

_LOCK_SECONDS: Final = 90  # a lock whose owner died; longer than any one statement of schema may take
_PATIENCE: Final = 180.0


class Step(msgspec.Struct, frozen=True):
    """`statements` name the keyspace as {keyspace}; each may be run twice."""

    about: str
    statements: tuple[str, ...]


STEPS: Final = (
    Step(
        "what each generation's keyspace holds: written when all of its tables are there",
        ("CREATE TABLE IF NOT EXISTS {keyspace}.declared (name text PRIMARY KEY, layout bigint, shape text)",),
    ),
    Step(
        "which generations there are, which one is read, and which entries an operator had skipped",
        (
            (
                "CREATE TABLE IF NOT EXISTS {keyspace}.generations (name text PRIMARY KEY, ready boolean, shape text,"
                " source text, created bigint, shards bigint)"
            ),
            "CREATE TABLE IF NOT EXISTS {keyspace}.live (key text PRIMARY KEY, name text, was set<text>)",
            (
                "CREATE TABLE IF NOT EXISTS {keyspace}.skips (topic text, shard bigint, offset bigint, reason text,"
                " time bigint, PRIMARY KEY (topic, shard, offset))"
            ),
        ),
    ),
)


def replicated(settings: CqlSettings) -> str:
    """The replication of a new keyspace: by datacenter where one is named."""
    if settings.datacenter is None:
        return f"{{'class': 'SimpleStrategy', 'replication_factor': {settings.replication}}}"
    return f"{{'class': 'NetworkTopologyStrategy', '{settings.datacenter}': {settings.replication}}}"


async def create_keyspace(session: CqlSession, settings: CqlSettings, keyspace: str) -> None:
    await session.admin(f"CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replicated(settings)}")


async def migrate(session: CqlSession, settings: CqlSettings) -> None:
    """Bring the meta keyspace to the newest step. Raises InvariantError when it is beyond it."""
    keyspace = settings.keyspace
    await create_keyspace(session, settings, keyspace)
    for table in ("locks (name text PRIMARY KEY, owner text)", "steps (step bigint PRIMARY KEY, about text)"):
        await session.admin(f"CREATE TABLE IF NOT EXISTS {keyspace}.{table}")
    await session.agree()
    if await _steps_taken(session, keyspace) == len(STEPS):
        return
    async with locked(session, settings, "schema"):
        taken = await _steps_taken(session, keyspace)
        for number, step in enumerate(STEPS[taken:], taken + 1):
            for statement in step.statements:
                await session.admin(statement.format(keyspace=keyspace))
            await session.agree()
            await session.admin(
                f"INSERT INTO {keyspace}.steps (step, about) VALUES (%s, %s)",  # noqa: S608 - a checked name
                (number, step.about),
            )


async def _steps_taken(session: CqlSession, keyspace: str) -> int:
    rows = await session.admin(f"SELECT step FROM {keyspace}.steps")  # noqa: S608 - a checked name
    taken: int = max((row[0] for row in rows), default=0)
    if taken > len(STEPS):
        raise InvariantError(
            f"keyspace {keyspace} is at step {taken} of its schema, this headrace knows {len(STEPS)}:"
            " start the newer release that wrote it, or set another keyspace"
        )
    return taken


@asynccontextmanager
async def locked(session: CqlSession, settings: CqlSettings, name: str) -> AsyncIterator[None]:
    """One process at a time; who dies in it is waited for. What is done inside must bear being done twice."""
    owner = secrets.token_hex(8)
    locks = f"{settings.keyspace}.locks"
    take = f"INSERT INTO {locks} (name, owner) VALUES (%s, %s) IF NOT EXISTS USING TTL {_LOCK_SECONDS}"  # noqa: S608
    try:
        async with asyncio.timeout(_PATIENCE):
            while not await _take(session, take, name, owner):  # noqa: ASYNC110 - the owner is another process
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise StoreUnavailableError(f"the lock {name!r} in {locks} was not free for {_PATIENCE:.0f} s") from None
    keeping = asyncio.create_task(_keep(session, locks, name, owner))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await session.admin(f"DELETE FROM {locks} WHERE name = %s IF owner = %s", (name, owner))  # noqa: S608


async def _take(session: CqlSession, statement: str, name: str, owner: str) -> bool:
    try:
        (row,) = await session.admin(statement, (name, owner))
    except StoreUnavailableError:
        return False  # it may have been taken: then the next attempt finds our own name in it
    return bool(row[0]) or owner in row


async def _keep(session: CqlSession, locks: str, name: str, owner: str) -> None:
    again = f"UPDATE {locks} USING TTL {_LOCK_SECONDS} SET owner = %s WHERE name = %s IF owner = %s"  # noqa: S608
    while True:
        await asyncio.sleep(_LOCK_SECONDS / 4)
        await session.admin(again, (owner, name, owner))
