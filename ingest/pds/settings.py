"""What an operator may set of the PDS, with the values of the reference where it has them.

Does not own where settings come from (headrace/settings.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.limits import REV_AHEAD_MICROS

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass(frozen=True, slots=True)
class PdsSettings:
    """All durations in seconds, sizes in bytes."""

    handle_domains: tuple[str, ...] = (".test",)
    access_ttl: int = 2 * HOUR
    refresh_ttl: int = 90 * DAY
    refresh_grace: int = 2 * HOUR
    """How long a refresh token that was already used may be used again (a client that lost our answer)."""
    email_token_ttl: int = 15 * MINUTE
    argon2_memory_kib: int = 19 * 1024
    argon2_time: int = 2
    argon2_parallelism: int = 1
    blob_limit: int = 100_000_000
    blob_gc_age: int = HOUR
    blob_gc_interval: float = 10 * MINUTE
    flush_interval: float = 1.0
    """Account files follow the log by about this much; a crash replays it."""
    open_files: int = 256
    heads: int = 4096
    nodes: int = 100_000
    """MST nodes kept loaded, over all accounts (1.3 KB each); the least recently used trees are dropped to their root's
    CID first. What writes superseded since a tree was dropped counts too: of busy accounts a quarter is held."""
    nodes_per_head: int = 10_000
    """The same for one account."""
    clock_ahead: int = REV_AHEAD_MICROS // 1_000_000
    """Relays drop revs 5 minutes ahead of their clock; before that we answer 503."""
    import_limit: int = 1_000_000_000
    pending_retry: float = 30.0
    """How often an account creation that a crash left half-done is tried again while the PLC directory is away."""
    rate_limits: bool = True
    rate_limit_scale: float = 1.0
    """Multiplies every limit of ingest/pds/rate_limit.py; a bench raises it."""
    rate_limit_keys: int = 100_000
    contact_email: str | None = None
    privacy_policy: str | None = None
    terms_of_service: str | None = None
