"""What can be said of accounts.sqlite from outside: how many accounts there are, and whether their keys are keys.

Reads alone, beside a PDS too. No secret leaves it: of a key only the public half does.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import apsw

from ingest.pds.accounts_schema import VERSION, rows
from ingest.repo.keys import KeyRefused, PrivateKey, PublicKey
from schemas.errors import InvariantError
from schemas.syntax import Did


class Kept(NamedTuple):
    """`public` is None of bytes that are no key."""

    did: Did
    status: str
    public: PublicKey | None


class Found(NamedTuple):
    """`accounts` are all there are; `keys` those that were asked for, the newest first."""

    accounts: int
    keys: list[Kept]


def kept(path: Path, limit: int | None) -> Found:
    """Raises InvariantError for a file that is none of this version."""
    try:
        con = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            version = con.pragma("user_version")
            if version != VERSION:
                raise InvariantError(f"{path}: expected accounts schema {VERSION}, found {version}: use its release")
            count = rows(con, "SELECT count(*) FROM accounts")[0][0]
            newest = "SELECT did, status, curve, signing_key FROM accounts ORDER BY created DESC LIMIT ?"
            found = rows(con, newest, (-1 if limit is None else limit,))
        finally:
            con.close()
    except apsw.Error as error:
        raise InvariantError(
            f"{path}: expected a file of accounts that can be read, found {error}: bring back a copy of it"
        ) from error
    return Found(count, [Kept(Did(did), status, _public(curve, secret)) for did, status, curve, secret in found])


def _public(curve: str, secret: object) -> PublicKey | None:
    if curve not in ("k256", "p256") or not isinstance(secret, bytes):
        return None
    try:
        return PrivateKey.from_bytes(curve, secret).public  # type: ignore[arg-type]
    except KeyRefused:
        return None
