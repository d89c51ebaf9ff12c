"""Accounts of which the log holds less than a relay has taken of them: they are caught up with.

It happens where another process judges what a relay appends (a cluster's derive). Does not own who finds it out, nor
how an account catches up (`ingest.relay.resync`).
"""

from __future__ import annotations

from ingest.relay.relay import Relay
from schemas.errors import Refused
from schemas.syntax import Did


def catch_up_with(relay: Relay, did: Did) -> None:
    """On disk when it returns: who told does not tell again after a crash.

    Without room for another one its next message finds it out of step; counted as a failed fetch until then.
    """
    name = relay.store.host_of(did)
    host = None if name is None else relay.running(name)
    url = host.row.url if host is not None else name and f"https://{name}"
    try:
        relay.resync.begin(did, url)
    except Refused as refused:
        relay.resync.failures[refused.reason.value] += 1
    else:
        relay.store.flush()
