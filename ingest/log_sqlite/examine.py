"""What can be said of SQLite files from outside: whether one is whole, and up to when a log was written.

Reads alone, beside a writer too. Does not own what is done about it (`headrace/doctor/files.py`).
"""

from __future__ import annotations

from pathlib import Path

import apsw
import msgspec

from ingest.log_sqlite.schema import FORMAT, meta, open_reader, rows_of
from ingest.log_sqlite.start import read_ends
from schemas.errors import InvariantError
from schemas.tid import Tid


class Written(msgspec.Struct, frozen=True):
    """Of a log: its name, its shards, and the times of its newest entry and rev in unix microseconds, 0 for none.

    `newest_seq` is the last number that its firehose gave.
    """

    log_id: str
    shards: int
    newest_time: int
    newest_rev: int
    newest_seq: int


def damage(path: Path) -> str | None:
    """The first thing SQLite's quick_check finds wrong; None for a file that is whole."""
    try:
        con = open_reader(path)
        try:
            found = rows_of(con, "PRAGMA quick_check(1)")
        finally:
            con.close()
    except apsw.Error as error:
        return str(error)
    first = str(found[0][0]) if found else "no answer"
    return None if first == "ok" else first.replace("\n", " ")


def written(path: Path) -> Written:
    """Raises InvariantError for a file that is no log of this format."""
    try:
        con = open_reader(path)
        try:
            found = meta(con, "format")
            if found != FORMAT:
                raise InvariantError(
                    f"{path}: expected a log of format {FORMAT}, found {found}: start the version that made it"
                )
            shards = meta(con, "shards") or 0
            rev = rows_of(con, "SELECT max(rev) FROM heads")[0][0]
            ends = read_ends(con, shards)
            log_id = f"{meta(con, 'id') or 0:016x}"
            return Written(log_id, shards, ends.time, Tid(rev).micros if rev else 0, ends.seq)
        finally:
            con.close()
    except apsw.Error as error:
        raise InvariantError(
            f"{path}: expected a log that can be read, found {error}: keep the file, and bring back a copy of it"
        ) from error
