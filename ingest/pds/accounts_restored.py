"""Accounts of an earlier day: what was given out and may have been taken back since does not come to life again.

Does not own where the file came from.
"""

from __future__ import annotations

from pathlib import Path

from ingest.pds.accounts_schema import connect


def end_sessions(path: Path) -> None:
    """No refresh token and no mailed token of `accounts.sqlite` is good any more; passwords are as they were."""
    connection = connect(path)
    try:
        with connection:
            connection.execute("DELETE FROM refresh_tokens")
            connection.execute("DELETE FROM email_tokens")
    finally:
        connection.close()
