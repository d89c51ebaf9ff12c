"""Why a backfill, or an account of it, does not go on; bounded labels beside those of `ingest.relay.reasons`."""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import Refused


class BackfillReason(StrEnum):
    # a backfill that an operator names
    UNKNOWN = "backfill_unknown"
    MANY = "backfills"
    NO_RELAY = "no_relay"
    REQUEST = "backfill_request"
    DID_SYNTAX = "did_syntax"
    # a host that is asked
    HOST_ANSWER = "host_answer"
    HOST_LIST = "host_list"
    HOST_THROTTLES = "host_throttles"
    # an account
    LIST_ENTRY = "list_entry"
    REPO_GONE = "repo_gone"


class HostThrottles(Refused):
    """A host answers 429; `retry_after` is how many seconds it wants to be left alone, if it said so."""

    def __init__(self, detail: str, retry_after: float | None) -> None:
        super().__init__(BackfillReason.HOST_THROTTLES, detail)
        self.retry_after = retry_after
