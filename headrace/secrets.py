"""The operator's secrets: small files, made in the data directory at first use (mode 0600) or named by a setting.

Does not own the PDS's secrets (`ingest.pds.secrets`, which also says how such files are written).
"""

from __future__ import annotations

from pathlib import Path

from headrace.client import OPS_TOKEN
from headrace.settings import Settings, SettingsError, where
from ingest.pds.secrets import load_or_create, private_directory

ADMIN_TOKEN = "admin_token"  # noqa: S105 - a file's name
CANARY_PASSWORD = "canary_password"  # noqa: S105 - as there


def admin_token(settings: Settings) -> str:
    """The password of com.atproto.admin (`admin:<token>`)."""
    if settings.admin_token_file is not None:
        return read(settings.admin_token_file, "admin_token_file")
    return load_or_create(settings.data / ADMIN_TOKEN).decode()


def canary_password(settings: Settings) -> str:
    """The password of the canary's account."""
    if settings.canary_password_file is not None:
        return read(settings.canary_password_file, "canary_password_file")
    return load_or_create(private_directory(settings.data) / CANARY_PASSWORD).decode()


def ops_token(directory: Path) -> str:
    """What opens the ingest hook."""
    return load_or_create(directory / OPS_TOKEN).decode()


def read(file: Path, setting: str) -> str:
    """What a setting's file holds, without white space at its ends. Raises SettingsError."""
    try:
        found = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        raise SettingsError(
            f"{setting}: expected a file with a secret, found {file}: {why}. Set {where(setting)}"
        ) from None
    if not found:
        raise SettingsError(f"{setting}: expected a secret in {file}, found nothing. Write it there")
    return found
