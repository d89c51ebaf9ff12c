"""The SQLite files of a directory as they were at one instant, however much is written to them meanwhile.

Rule 1. Accounts and the did:plc directory are held still (BEGIN IMMEDIATE, for milliseconds) while a read transaction
is begun in every file: what the files then say together is what a kill of the process in that instant would have left.
Rule 2. The read transactions stay open until their file is copied, so that each copy is of that instant.
Rule 3. A copy that SQLite does not find whole is no copy.

Needs no word from the process that writes, and none running. Does not own which files there are (`contents.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import apsw

from schemas.cid import Cid
from schemas.errors import InvariantError

_BUSY_MILLISECONDS: Final = 20_000
_PAGES: Final = 1_024


class Instant:
    """`copy` and `rows` of any of `names`, inside `fixed`."""

    def __init__(self, readers: dict[str, apsw.Connection]) -> None:
        self._readers = readers

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._readers)

    def rows(self, name: str, sql: str, arguments: tuple[Any, ...] = ()) -> Iterator[Any]:
        return iter(self._readers[name].execute(sql, arguments))

    def copy(self, name: str, to: Path) -> None:
        """Raises InvariantError when the file is damaged."""
        target = apsw.Connection(str(to))
        try:
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")
            with target.backup("main", self._readers[name], "main") as backup:
                while not backup.done:
                    backup.step(_PAGES)
        finally:
            target.close()
        _check(name, to)


@contextlib.contextmanager
def fixed(
    directory: Path, names: Iterable[str], still: Iterable[str], meanwhile: Callable[[Instant], None]
) -> Iterator[Instant]:
    """The instant of those of `names` that are there. `meanwhile` runs while nobody can write to those of `still`.

    Raises InvariantError for a file that cannot be read, or that its process holds for longer than 20 s.
    """
    with contextlib.ExitStack() as stack, _named(directory):
        there = [name for name in names if (directory / name).exists()]
        with contextlib.ExitStack() as stillness:
            for name in there:
                if name in still:
                    holder = _open(stillness, directory / name)
                    holder.execute("BEGIN IMMEDIATE")
                    stillness.callback(holder.execute, "ROLLBACK")
            readers = {}
            for name in there:
                readers[name] = reader = _open(stack, directory / name)
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # the first read fixes the state
            instant = Instant(readers)
            meanwhile(instant)
        yield instant


def has_blob(path: Path, did: str, cid: str) -> bool:
    """Whether the accounts at `path` have the blob now."""
    with contextlib.ExitStack() as stack:
        rows = _open(stack, path).execute(
            "SELECT state FROM blobs WHERE did = ? AND cid = ?", (did, Cid.parse(cid).raw)
        )
        return any(state not in ("uploading", "deleting") for (state,) in rows.fetchall())


def _open(stack: contextlib.ExitStack, path: Path) -> apsw.Connection:
    # Not read-only: what a dead process left in the write-ahead log may have to be recovered.
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    stack.callback(connection.close)
    connection.set_busy_timeout(_BUSY_MILLISECONDS)
    connection.wal_autocheckpoint(0)
    return connection


@contextlib.contextmanager
def _named(directory: Path) -> Iterator[None]:
    try:
        yield
    except apsw.Error as error:
        raise InvariantError(
            f"{directory}: expected SQLite files that can be read, found {error}: "
            "`headrace doctor` says which is damaged; when its process is busy, try again"
        ) from error


def _check(name: str, path: Path) -> None:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found = str(connection.execute("PRAGMA quick_check(1)").fetchall()[0][0])
    except apsw.Error as error:
        found = str(error)
    finally:
        connection.close()
    if found != "ok":
        raise InvariantError(
            f"{name}: expected a whole SQLite file to back up, found {found}: "
            "keep it, look at the disk, and restore the last backup that verifies"
        )
