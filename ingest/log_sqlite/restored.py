"""A log of an earlier day goes on as another one: under a new name, its firehose above every number ever served.

What came after the backup is lost here and known elsewhere: subscribers hold numbers that this log never gave, and
views may have been computed from entries that it does not have. Does not own where the file came from.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import apsw

from ingest.log_sqlite.schema import meta, rows_of, set_meta

# More than any log has served in a second; a year's worth is a third of a thousandth of what a seq may be.
_SEQS_A_SECOND = 100_000
_MARGIN_SECONDS = 3_600


def go_on(path: Path, seconds: float) -> int:
    """Leave the log so that its next seq is above what it may have served in the `seconds` since; that seq."""
    connection = apsw.Connection(str(path))
    try:
        newest = rows_of(connection, "SELECT max(seq) FROM firehose")[0][0] or 0
        served = max(newest + 1, meta(connection, "next_seq") or 1)
        following = served + _SEQS_A_SECOND * (_MARGIN_SECONDS + max(0, int(seconds)))
        with connection:
            set_meta(connection, "next_seq", following)
            set_meta(connection, "id", secrets.randbits(62))
        return following
    finally:
        connection.close()
