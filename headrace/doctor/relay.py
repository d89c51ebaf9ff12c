"""What a relay of a cluster keeps in its directory: of the cluster that is set, and young enough to go on from.

Does not own what is in it (`ingest.log_kafka.relay.view`). Changes nothing.
"""

from __future__ import annotations

import time

from headrace.doctor.finding import WrongError
from headrace.settings import Settings
from ingest.log_kafka.relay.view import FILE, STALE_SECONDS, kept


def view(settings: Settings) -> str:
    """Raises InvariantError for a file of another version."""
    path = settings.data / FILE
    found = kept(path)
    if (found.cluster, found.shards) != (settings.cluster, settings.shards):
        raise WrongError(
            f"{path} is of cluster {found.cluster} with {found.shards} shards, expected {settings.cluster} with"
            f" {settings.shards} as set: name the relay's own directory with --data, or set cluster and shards to these"
        )
    age = max(0, int(time.time()) - found.saved)
    if age > STALE_SECONDS:
        return f"{age // 86_400} days old: the relay makes it anew from the log before it reads its hosts"
    return f"of cluster {found.cluster}, last written {age} s ago"
