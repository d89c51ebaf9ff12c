"""What a host's refusal says: whether it wants to be left alone and for how long, or has no such repo to give. Pure.

Does not own the request (`ingest.relay.outgoing`) nor what follows from it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

import orjson

from ingest.relay.backfill_reasons import BackfillReason, HostThrottles
from ingest.relay.reasons import RelayReason
from schemas.errors import Refused
from schemas.syntax import Did

ERROR_BYTES = 16_384
_GONE = frozenset(("RepoNotFound", "RepoTakendown", "RepoSuspended", "RepoDeactivated"))


def repo_refused(status: int, headers: Mapping[str, str], body: bytes, did: Did) -> Refused:
    """Of a getRepo that is not answered with 200."""
    if status == 429:
        return HostThrottles(f"HTTP 429 for the repo of {did}", retry_after(headers))
    try:
        said = orjson.loads(body or b"null")
    except orjson.JSONDecodeError:
        said = None
    error = said.get("error") if isinstance(said, dict) else None
    if 400 <= status < 500 and error in _GONE:
        return Refused(BackfillReason.REPO_GONE, f"{error} for the repo of {did}")
    return Refused(RelayReason.REPO_STATUS, f"HTTP {status} for the repo of {did}")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds, from Retry-After (seconds or a date; RFC 9110, 10.2.3) or RateLimit-Reset (unix seconds, as PDSes say).

    `now` is in unix seconds.
    """
    moment = time.time() if now is None else now
    said = headers.get("Retry-After", "").strip()
    if said.isascii() and said.isdigit():
        return float(said[:9])
    if said:
        try:
            return max(0.0, parsedate_to_datetime(said).timestamp() - moment)
        except (ValueError, OverflowError):
            pass
    reset = headers.get("RateLimit-Reset", "").strip()
    if reset.isascii() and reset.isdigit():
        seconds = float(reset[:12])
        # The IETF's draft counts from now; PDSes give the moment itself.
        return max(0.0, seconds - moment) if seconds > 1e9 else seconds
    return None
