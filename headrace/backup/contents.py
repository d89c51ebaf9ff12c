"""What of a data directory is kept, what is computed again, and which names a backup may hold. Pure.

Kept is what nothing else in the network can say again: the log, accounts with their keys and passwords, blobs, secrets,
the did:plc directory, a relay's hosts, and which entries an operator left out. Does not own how files are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from headrace.backup.manifest import NAME as MANIFEST
from headrace.client import ADDRESSES, OPS_TOKEN
from headrace.lock import NAME as LOCK
from headrace.lock import RESTORING
from headrace.secrets import ADMIN_TOKEN
from headrace.wiring.relay import FILE as RELAY
from headrace.wiring.views import LOG
from ingest.pds.announce import MARK
from ingest.pds.secrets import JWT_SECRET, PLC_ROTATION_KEY
from views.generations_sqlite import FILE as GENERATIONS

ACCOUNTS: Final = "accounts.sqlite"
PLC: Final = "plc.sqlite"
BLOBS: Final = "blobs"
STAGING: Final = "backup.tmp"

SECRETS: Final = (ADMIN_TOKEN, OPS_TOKEN, JWT_SECRET, PLC_ROTATION_KEY)
DATABASES: Final = (GENERATIONS, RELAY, LOG, ACCOUNTS, PLC)
"""In the order in which their states are fixed: what is said in one and rests on another comes before it."""

# Accounts' files and views follow from the log; the rest is of the moment, or fetched again.
_COMPUTED: Final = re.compile(
    r"(accounts|imports|mail|relay-log\.sqlite.*|views(\.[^/]+)?\.sqlite(-wal|-shm)?|log-heads\.sqlite.*|identities\.sqlite.*"
    r"|plc_mirror\.sqlite.*|derive.*|lost\+found"
    rf"|{re.escape(LOCK)}|{re.escape(ADDRESSES)}|{re.escape(MARK)}|{re.escape(RESTORING)}|{re.escape(STAGING)})$"
)
_KEPT: Final = frozenset((BLOBS, *SECRETS, *DATABASES, *(name + end for name in DATABASES for end in ("-wal", "-shm"))))
_BLOB: Final = re.compile(r"blobs/[0-9a-f]{2}/[A-Za-z0-9._:%-]{1,255}/[a-z2-7]{10,100}$")


def strangers(names: Iterable[str]) -> list[str]:
    """Names of the directory's own level that a backup neither holds nor knows for computed again."""
    return sorted(name for name in names if name not in _KEPT and not _COMPUTED.match(name))


def may_hold(name: str) -> bool:
    """Whether a backup may have a member of this name. What else it has is refused, never written."""
    return name in SECRETS or name in DATABASES or name == MANIFEST or _BLOB.match(name) is not None


def is_blob(name: str) -> bool:
    return _BLOB.match(name) is not None
