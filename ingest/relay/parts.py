"""What a relay is told, and what it is made of.

Does not own what it does with it (`ingest.relay.relay`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ingest.identity.resolver import DidResolver
from ingest.relay.backfill_settings import BackfillSettings
from ingest.relay.intake_ports import HandleOf
from ingest.relay.outgoing import Outgoing
from ingest.relay.repo_diff import RepoLog
from ingest.relay.tee import Tee
from ingest.relay.verifier import Verifier

SAVE_SECONDS = 4.0  # as the reference relay


class RelayLog(RepoLog, Protocol):
    """What a relay needs of a log."""


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """`ours`: names that this process itself answers to, never crawled. `private`: http and private addresses."""

    ours: frozenset[str] = frozenset()
    private: bool = False
    lenient: bool = False
    backlog: bool = True
    whole: bool = False
    introduce: bool = True
    host_accounts: int = 100
    new_hosts_day: int = 50
    account_events_hour: int = 5_000
    repo_limit: int = 100_000_000
    save_seconds: float = SAVE_SECONDS
    first_pause: float = 1.0
    backfill: BackfillSettings = field(default_factory=BackfillSettings)


@dataclass(frozen=True, slots=True)
class RelayParts:
    """What a relay is made of; the relay closes none of it but its own file. `path` is that file."""

    path: Path
    log: RelayLog
    resolver: DidResolver
    handle_of: HandleOf
    verifier: Verifier
    outgoing: Outgoing
    hosted: Callable[[str], bool]
    settings: RelaySettings
    now: Callable[[], int] = lambda: time.time_ns() // 1000
    tee: Tee | None = None
