"""Blobs held by hard links while they are copied, so that the process that owns them may collect what it likes.

1. `link` makes a second name of every blob that is there: seconds, and no bytes are copied.
2. `link_since`, while accounts are held still, links those that came meanwhile: of what the accounts' rows say at that
   instant nothing can be gone, since a blob's row says that it goes before its file does.
Does not own which blobs there are to be (the rows of `accounts.sqlite`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

from headrace.backup.contents import ACCOUNTS
from headrace.backup.instant import Instant
from ingest.pds.paths import account_path
from ingest.pds.secrets import private_directory
from schemas.cid import Cid

_USABLE: Final = "state IN ('temporary', 'referenced', 'dropped')"
_READ: Final = 1 << 20


class HeldBlobs:
    """The blobs of `source`, under `held` from `link` on."""

    def __init__(self, source: Path, held: Path) -> None:
        self._source, self._held = source, held

    def link(self) -> None:
        for prefix in _directories(self._source):
            if len(prefix.name) != 2:  # what is being received has no name yet
                continue
            for account in _directories(prefix):
                self._link_all(account)

    def link_since(self, instant: Instant, seconds: int) -> None:
        """Those whose upload began at `seconds` of unix time or later, as the accounts' rows say."""
        sql = f"SELECT did, cid FROM blobs WHERE created >= ? AND {_USABLE}"  # noqa: S608 - constants
        for did, raw in instant.rows(ACCOUNTS, sql, (seconds,)):
            path = account_path(self._source, did) / str(Cid(raw))
            target = self._held / path.relative_to(self._source)
            private_directory(target.parent)
            _link(path, target)

    def all(self, instant: Instant) -> Iterator[tuple[str, str, Path]]:
        """(account, name in the backup, held file) of each blob that may be referred to, there or not."""
        for did, raw in instant.rows(ACCOUNTS, f"SELECT did, cid FROM blobs WHERE {_USABLE} ORDER BY did, cid"):  # noqa: S608
            path = account_path(self._held, did) / str(Cid(raw))
            yield did, f"blobs/{path.relative_to(self._held)}", path

    def _link_all(self, account: Path) -> None:
        target = self._held / account.relative_to(self._source)
        private_directory(target)
        try:
            paths = sorted(account.iterdir())
        except FileNotFoundError:  # the account was deleted meanwhile
            return
        for path in paths:
            _link(path, target / path.name)


def is_whole(path: Path) -> bool:
    """Whether a blob is there, and is what its name says."""
    digest = sha256()
    try:
        with path.open("rb") as file:
            while data := file.read(_READ):
                digest.update(data)
    except FileNotFoundError:
        return False
    return digest.digest() == Cid.parse(path.name).raw[-32:]


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except (FileExistsError, FileNotFoundError):  # held already; collected already
        return
    except OSError:  # a volume without links, or another one
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path, target)


def _directories(path: Path) -> list[Path]:
    if not path.exists():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir())
