"""The registry of one process, and its skips: one small file in the data directory, an fsync a change.

Does not own the generations' own files.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from schemas.errors import InvariantError
from views.generations import FIRST, Generation, GenerationError, Skip, named

FILE = "generations.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS generations(
  place INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL, shape TEXT NOT NULL,
  source TEXT NOT NULL, created INTEGER NOT NULL, shards INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS one_live ON generations(state) WHERE state = 'live';
CREATE TABLE IF NOT EXISTS skips(
  topic TEXT NOT NULL, shard INTEGER NOT NULL, offset INTEGER NOT NULL, reason TEXT NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY(topic, shard, offset)) WITHOUT ROWID;
"""


def file_of(directory: Path, name: str) -> Path:
    """Where a generation's views are; the first one's file had its name before there were others."""
    return directory / ("views.sqlite" if name == FIRST else f"views.{name}.sqlite")


def read(directory: Path) -> list[Generation]:
    """What `all` of the directory's registry answers, beside a process that has it open; changes nothing.

    Raises InvariantError for a file that is no registry.
    """
    try:
        connection = apsw.Connection(str(directory / FILE), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(5_000)
            return _all(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise InvariantError(
            f"{directory / FILE}: expected the registry of generations, found {error}: move it and views*.sqlite away"
            " and start; they are built again"
        ) from error


def keep_skips(path: Path) -> None:
    """Leave of a registry what is no view: which entries an operator left out. Generations are built again."""
    connection = apsw.Connection(str(path))
    try:
        with connection:
            connection.execute(_TABLES)
            connection.execute("DELETE FROM generations")
    finally:
        connection.close()


def _all(connection: apsw.Connection) -> list[Generation]:
    rows = connection.execute("SELECT name, state, shape, source, created, shards FROM generations ORDER BY place")
    return [
        Generation(name, state, shape, msgspec.json.decode(source, type=dict[str, str]), created, shards)
        for name, state, shape, source, created, shards in rows
    ]


class SqliteRegistry:
    """`views.generations.Registry` and `Skips`."""

    def __init__(self, directory: Path) -> None:
        self._connection = apsw.Connection(str(directory / FILE))
        self._connection.set_busy_timeout(5_000)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(_TABLES)

    async def all(self) -> list[Generation]:
        return _all(self._connection)

    async def add(self, generation: Generation) -> None:
        with self._connection:
            found = await self.all()
            if any(each.name == generation.name for each in found):
                raise GenerationError(
                    f"there is a generation {generation.name} already: choose another name,"
                    f" or drop it first: headrace views drop {generation.name}"
                )
            self._connection.execute(
                "INSERT INTO generations(name, state, shape, source, created, shards) VALUES(?, ?, ?, ?, ?, ?)",
                (
                    generation.name,
                    "building" if found else "live",
                    generation.shape,
                    msgspec.json.encode(generation.source).decode(),
                    generation.created,
                    generation.shards,
                ),
            )

    async def mark_ready(self, name: str) -> None:
        self._connection.execute("UPDATE generations SET state='ready' WHERE name=? AND state='building'", (name,))

    async def flip(self, name: str) -> None:
        with self._connection:
            state = named(await self.all(), name).state
            if state == "building":
                raise GenerationError(
                    f"{name} has not seen all of the log yet: wait until headrace views list says ready"
                )
            if state == "live":
                return
            self._connection.execute("UPDATE generations SET state='retired' WHERE state='live'")
            self._connection.execute("UPDATE generations SET state='live' WHERE name=?", (name,))

    async def remove(self, name: str) -> None:
        with self._connection:
            if any(each.name == name and each.state == "live" for each in await self.all()):
                raise GenerationError(f"{name} is live: flip to another one first: headrace views flip NAME")
            self._connection.execute("DELETE FROM generations WHERE name=?", (name,))

    async def skip(self, skip: Skip) -> None:
        values = (skip.topic, skip.shard, skip.offset, skip.reason, skip.time)
        self._connection.execute("INSERT OR REPLACE INTO skips VALUES(?, ?, ?, ?, ?)", values)

    async def skips(self) -> list[Skip]:
        return [Skip(*row) for row in self._connection.execute("SELECT * FROM skips ORDER BY topic, shard, offset")]

    async def close(self) -> None:
        self._connection.close()
