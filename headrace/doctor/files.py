"""What is in the data directory's files: whole, of this version's shape, and not written in the future.

Does not own how they are read (`ingest.log_sqlite.examine`, `views.generations_sqlite`). Changes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import views
from headrace.doctor.finding import WrongError, some
from headrace.settings import Settings
from headrace.wiring.shared import unix_micros
from headrace.wiring.views import LOG
from ingest.log_sqlite.examine import damage, written
from schemas.limits import FUTURE_REV_MICROS
from views.generations import live_of, shape_of
from views.generations_sqlite import FILE, read

_SECOND = 1_000_000
_AHEAD = 2 * _SECOND  # log times rise by a microsecond at least, also where the clock stands


def whole(directory: Path, *, resting: bool) -> str:
    """SQLite's quick_check of every file."""
    if not resting:
        return "not looked at while a process uses them: run this again when it has ended"
    files = sorted(directory.rglob("*.sqlite"))
    broken = [f"{path} ({found})" for path in files if (found := damage(path)) is not None]
    if broken:
        raise WrongError(
            f"{some(broken)}: expected whole SQLite files: keep them, look at the disk, and bring back a copy;"
            " of views*.sqlite and generations.sqlite no copy is needed: move them all away, `headrace up` builds them;"
            " nor of identities.sqlite and plc_mirror.sqlite: they are fetched anew"
        )
    return f"{len(files)} SQLite files are whole"


def log(settings: Settings) -> str:
    """The log has the number of shards that is set."""
    found = written(settings.data / LOG)
    if found.shards != settings.shards:
        raise WrongError(
            f"{settings.data / LOG} has {found.shards} for its number of shards, expected {settings.shards} as set:"
            f" it is fixed when a log is made; set shards to {found.shards}"
        )
    return f"number of shards {found.shards}, as set"


def clock(directory: Path) -> str:
    """Nothing in the log is of a time to come; a rev may be as far ahead as the verifier lets one be."""
    found, now = written(directory / LOG), unix_micros()
    for what, time, allowed in (
        ("entry", found.newest_time, _AHEAD),
        ("rev", found.newest_rev, FUTURE_REV_MICROS),
    ):
        if time > now + allowed:
            raise WrongError(
                f"the clock says {_shown(now)}, and the log's newest {what} is of {_shown(time)}, expected a time that"
                f" has been: set the clock (chronyc tracking, timedatectl); when the clock is right, it was wrong then"
            )
    return f"not behind the log ({_shown(found.newest_time) if found.newest_time else 'no entry yet'})"


def shape(directory: Path) -> str:
    """The views that are read are of this version's shape, and were built from this log."""
    if not (directory / FILE).exists():
        return "none yet: `headrace up` makes them"
    found = read(directory)
    live = live_of(found)
    if live is None:
        return "none yet: `headrace up` makes them"
    if live.shape != shape_of([view.table for view in views.ALL]):
        raise WrongError(
            f"generation {live.name} is of another version's shape ({live.shape}), expected this one's: `headrace up`"
            " builds them again before it serves (docs/generations.md), or start the version that made them"
        )
    log_id = written(directory / LOG).log_id
    if live.source.get("log") != log_id:
        raise WrongError(
            f"generation {live.name} was built from log {live.source.get('log')}, expected {log_id}, the directory's:"
            " bring back that log, or move views*.sqlite and generations.sqlite away: they are built again"
        )
    return f"generation {live.name} is live, of this version's shape; {len(found)} in all"


def _shown(micros: int) -> str:
    return datetime.fromtimestamp(micros // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
