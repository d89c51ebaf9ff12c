"""A relay's backfills put together out of what the relay has. Holds no logic.

Does not own any of the parts.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest.relay.backfill import Backfill, HostOf
from ingest.relay.backfill_account import AccountFetch
from ingest.relay.backfill_job import JobParts
from ingest.relay.backfill_pace import Paces
from ingest.relay.backfill_store import BackfillStore
from ingest.relay.intake import Intake
from ingest.relay.parts import RelayParts
from ingest.relay.resync import Resync


def backfills(
    parts: RelayParts, intake: Intake, resync: Resync, *, host_of: HostOf, allowed: Callable[[str], object]
) -> tuple[Backfill, BackfillStore]:
    """The store is to be closed last. `allowed` raises Refused for a host that is not to be asked."""
    settings = parts.settings.backfill
    store = BackfillStore(parts.path)
    paces = Paces(settings.per_second, settings.at_once_host, settings.slow_first)
    fetch = AccountFetch(
        parts.log,
        intake.judge,
        intake.lines,
        resync,
        queries=parts.outgoing,
        paces=paces,
        allowed=allowed,
        at_once=settings.at_once,
    )
    shared = JobParts(store, fetch, parts.outgoing, paces, settings)
    return Backfill(shared, host_of=host_of, now=parts.now), store
