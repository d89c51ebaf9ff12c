"""Why a backup is not made, not taken for one, or not restored: the input is wrong, and the message says the cure."""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import Refused


class Reason(StrEnum):
    DAMAGED = "backup_damaged"
    NEWER = "backup_newer"
    KEY = "backup_key"
    TARGET = "backup_target"
    SOURCE = "backup_source"


class BackupRefused(Refused):
    """`detail` says what was expected, what came, and what to do."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
