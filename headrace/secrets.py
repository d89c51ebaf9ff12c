"""The operator's secrets: one small file each in the data directory, made at first use, mode 0600.

Does not own the PDS's secrets (`ingest.pds.secrets`, which also says how such files are written).
"""

from __future__ import annotations

from pathlib import Path

from headrace.client import OPS_TOKEN
from ingest.pds.secrets import load_or_create

ADMIN_TOKEN = "admin_token"  # noqa: S105 - a file's name


def admin_token(directory: Path) -> str:
    """The password of com.atproto.admin (`admin:<token>`)."""
    return load_or_create(directory / ADMIN_TOKEN).decode()


def ops_token(directory: Path) -> str:
    """What opens the ingest hook."""
    return load_or_create(directory / OPS_TOKEN).decode()
