"""`headrace backup create|verify` and `headrace restore`. Does not own what they do (`headrace/backup/`)."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from headrace import logs
from headrace.commands.common import (
    DONE,
    FAILED,
    IN_USE,
    REFUSED,
    USAGE,
    Config,
    Data,
    Json,
    Sets,
    fail,
    settings_of,
    show,
)
from headrace.lock import DirectoryError, LockedError
from schemas.errors import InvariantError, Refused

KeyFile = Annotated[Path | None, Parameter(help="File with the key that it is encrypted with: 32 characters or more.")]
Backup = Annotated[Path, Parameter(help="The backup's file.")]


def create(
    file: Backup,
    *,
    key_file: KeyFile = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Back up a data directory, in use or at rest: log, accounts, keys, blobs, secrets; what is not computed again.

    Exit code 1 when blobs were missing in the directory: the backup is made without them.
    """
    settings = settings_of({"data": data}, config, sets)
    logs.configure(settings.log_level)
    from headrace.backup.create import create as make  # noqa: PLC0415 - `headrace --help` need not load it

    return _done(lambda: make(settings.data, file, _key(key_file), _say), as_json=as_json)


def verify(file: Backup, *, key_file: KeyFile = None, as_json: Json = False) -> int:
    """Read a backup to its end, check all that it holds, and say what that is."""
    from headrace.backup.create import about  # noqa: PLC0415 - as in create
    from headrace.backup.reading import verify as read  # noqa: PLC0415 - as in create

    return _done(lambda: {"verified": str(file), **about(read(file, _key(key_file)))}, as_json=as_json)


def restore(
    file: Backup,
    *,
    key_file: KeyFile = None,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Make a data directory out of a backup; it must be empty, or not be there."""
    settings = settings_of({"data": data}, config, sets)
    logs.configure(settings.log_level)
    from headrace.backup.restore import restore as bring_back  # noqa: PLC0415 - as in create

    return _done(lambda: bring_back(file, settings.data, _key(key_file)), as_json=as_json)


def groups() -> tuple[cyclopts.App, ...]:
    backup = cyclopts.App(name="backup", help="Backups of a data directory: what nobody could compute again.")
    for command in (create, verify):
        backup.command(command)
    return (backup,)


def _key(file: Path | None) -> bytes | None:
    from headrace.backup.seal import read_key  # noqa: PLC0415 - as in create

    return None if file is None else read_key(file)


def _say(line: str) -> None:
    sys.stderr.write(f"headrace: {line}\n")


def _done(work: Callable[[], dict[str, Any]], *, as_json: bool) -> int:
    signal.signal(signal.SIGTERM, _end)
    try:
        found = work()
    except Refused as refused:
        return fail(REFUSED, refused.detail)
    except LockedError as error:
        return fail(IN_USE, str(error))
    except DirectoryError as error:
        return fail(USAGE, str(error))
    except InvariantError as error:
        return fail(FAILED, str(error))
    except OSError as error:
        return fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    show(found, as_json=as_json)
    return FAILED if "backup" in found and found["blobs_missing"] else DONE


def _end(_number: int, _frame: object) -> None:
    """A command that is told to end leaves nothing half done."""
    raise SystemExit(FAILED)
