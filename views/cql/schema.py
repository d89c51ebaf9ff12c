"""Keyspaces of generations: made, checked when opened, dropped.

A generation is there when its shape stands in the meta keyspace, which is written last; what a process that died left
half made, or half dropped, is thrown away by the next that makes it. Does not own rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from schemas.errors import InvariantError
from views.cql import text
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings
from views.generations import checked_name, shape_of
from views.migrations import create_keyspace, locked, migrate
from views.table import Table
from views.table import integer as integer_column
from views.table import text as text_column

LAYOUT: Final = 1
"""How rows and progress are kept; raised when a store written before could not be read."""
_KEYSPACE: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")

PROGRESS: Final = Table(
    "progress",
    "records",
    partition=(text_column("topic", "what is consumed"), integer_column("shard", "of it")),
    clustering=(
        text_column("kind", "mark, watermark or reach"),
        text_column("source", "of a mark: the topic its messages come from"),
        integer_column("source_shard", "of that topic; of a watermark: the sender's"),
    ),
    columns=(
        integer_column("offset", "of a mark: the newest message let in; of a reach: what a batch in hand ends with"),
        integer_column("idx", "of a mark: that message's index"),
        text_column("vector", "of a watermark: an offset of each shard of `records`, joined by commas"),
    ),
    statics=(integer_column("position", "offset up to which everything it caused is in the tables"),),
)


def keyspace_of(settings: CqlSettings, generation: str) -> str:
    """Raises InvariantError or GenerationError for names that CQL would not take."""
    if _KEYSPACE.fullmatch(settings.keyspace) is None:
        raise InvariantError(
            f"keyspace {settings.keyspace!r}: expected a letter, then at most 30 of a to z, 0 to 9 and _"
        )
    return f"{settings.keyspace}_{checked_name(generation)}"


async def ensure(
    session: CqlSession, settings: CqlSettings, generation: str, tables: Sequence[Table], *, create: bool
) -> None:
    """Raises InvariantError when the generation is not there, or is of another shape, with the cure."""
    keyspace = keyspace_of(settings, generation)
    if create:
        await migrate(session, settings)
    found = await _declared(session, settings, keyspace)
    if found is None and create:
        async with locked(session, settings, "schema"):
            found = await _declared(session, settings, keyspace)
            if found is None:
                await _create(session, settings, keyspace, tables)
                return
    expected = shape_of(tables)
    if found is None:
        raise InvariantError(
            f"there is no generation {generation} (keyspace {keyspace} at {', '.join(settings.hosts)}):"
            f" build it: headrace views build {generation}, or set the generation that there is"
        )
    layout, shape = found
    if layout > LAYOUT:
        raise InvariantError(
            f"keyspace {keyspace} is kept in layout {layout}, this headrace knows {LAYOUT}: start the newer release"
        )
    if (layout, shape) != (LAYOUT, expected):
        raise InvariantError(
            f"keyspace {keyspace} holds views of another shape: found {layout}/{shape}, expected {LAYOUT}/{expected}:"
            " build a new generation beside it and flip: headrace views build"
        )


async def drop(session: CqlSession, settings: CqlSettings, generation: str) -> None:
    """Nothing happens when it is not there."""
    keyspace = keyspace_of(settings, generation)
    if not await _exists(session, settings.keyspace):
        return
    async with locked(session, settings, "schema"):
        # First the word that it is there: what is left of a drop that is cut off goes with the next one, or a create.
        await session.admin(f"DELETE FROM {settings.keyspace}.declared WHERE name = %s", (keyspace,))  # noqa: S608
        await session.admin(f"DROP KEYSPACE IF EXISTS {keyspace}")
        await session.agree()


async def _create(session: CqlSession, settings: CqlSettings, keyspace: str, tables: Sequence[Table]) -> None:
    scylla = bool(
        await session.admin(
            "SELECT table_name FROM system_schema.tables"
            " WHERE keyspace_name = 'system_schema' AND table_name = 'scylla_tables'"
        )
    )
    await session.admin(f"DROP KEYSPACE IF EXISTS {keyspace}")
    await create_keyspace(session, settings, keyspace)
    for table in (*tables, PROGRESS):
        await session.admin(text.create(keyspace, table, scylla=scylla))
    await session.agree()
    await session.admin(
        f"INSERT INTO {settings.keyspace}.declared (name, layout, shape) VALUES (%s, %s, %s)",  # noqa: S608
        (keyspace, LAYOUT, shape_of(tables)),
    )


async def _declared(session: CqlSession, settings: CqlSettings, keyspace: str) -> tuple[int, str] | None:
    if not await _exists(session, settings.keyspace):
        return None
    rows = await session.admin(
        f"SELECT layout, shape FROM {settings.keyspace}.declared WHERE name = %s",  # noqa: S608
        (keyspace,),
    )
    return None if not rows else (rows[0][0], rows[0][1])


async def _exists(session: CqlSession, keyspace: str) -> bool:
    return bool(
        await session.admin(
            "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s AND table_name = 'declared'",
            (keyspace,),
        )
    )
