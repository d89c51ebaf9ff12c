"""The tables of DIR/accounts.sqlite: what the log does not hold.

Credentials, keys, blobs, preferences, half-done creations. Lost with this file: passwords, signing keys, sessions and
preferences. It is what an operator backs up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw

from ingest.pds.secrets import private_file
from schemas.errors import InvariantError

VERSION = 1

_TABLES = """
CREATE TABLE accounts (
    did TEXT PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    email TEXT UNIQUE,
    email_confirmed INTEGER NOT NULL DEFAULT 0,
    password TEXT,
    status TEXT NOT NULL,
    takedown TEXT,
    curve TEXT NOT NULL,
    signing_key BLOB NOT NULL,
    plc_op BLOB,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE refresh_tokens (
    id TEXT PRIMARY KEY,
    did TEXT NOT NULL,
    family TEXT NOT NULL,
    next_id TEXT,
    used INTEGER,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_did ON refresh_tokens (did, family);
CREATE TABLE email_tokens (
    did TEXT NOT NULL,
    purpose TEXT NOT NULL,
    token TEXT NOT NULL,
    requested INTEGER NOT NULL,
    PRIMARY KEY (did, purpose)
) WITHOUT ROWID;
CREATE TABLE blobs (
    did TEXT NOT NULL,
    cid BLOB NOT NULL,
    mime TEXT NOT NULL,
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    state TEXT NOT NULL,
    takedown TEXT,
    PRIMARY KEY (did, cid)
) WITHOUT ROWID;
CREATE INDEX blobs_unfinished ON blobs (state, created) WHERE state != 'referenced';
CREATE TABLE takedowns (uri TEXT PRIMARY KEY, reference TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE checkpoints (shard INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
"""

# Made where it is missing: files are older than it.
_PREFERENCES = "CREATE TABLE IF NOT EXISTS preferences (did TEXT PRIMARY KEY, items BLOB NOT NULL) WITHOUT ROWID"


def connect(path: Path) -> apsw.Connection:
    """Open, and make the tables at first use. FULL: what a client was told survives a power cut."""
    private_file(path)
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    # A transaction that reads first would not wait for a backup that holds the file still: it would fail at once.
    connection.transaction_mode = "IMMEDIATE"
    for pragma in ("journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    version = connection.pragma("user_version")
    if version == 0:
        with connection:
            connection.execute(_TABLES)
            connection.pragma("user_version", VERSION)
    elif version != VERSION:
        raise InvariantError(
            f"{path}: expected accounts schema {VERSION}, found {version}: use the release that wrote it"
        )
    with connection:
        connection.execute(_PREFERENCES)
    return connection


def rows(db: apsw.Connection, sql: str, bindings: tuple[Any, ...] = ()) -> list[Any]:
    """All rows of a statement, as tuples whose types the tables above say."""
    return db.execute(sql, bindings).fetchall()
