"""Why an identity could not be had: one bounded set of labels for the whole of ingest/identity.

`TRANSIENT` are those that say nothing about the identity itself: a later attempt may succeed, and a known older answer
stays good meanwhile.
"""

from __future__ import annotations

from enum import StrEnum

from schemas.errors import Refused


class IdentityReason(StrEnum):
    METHOD = "did_method"
    HOST = "did_host"
    NOT_FOUND = "did_not_found"
    TOMBSTONED = "did_tombstoned"
    DOCUMENT = "did_document"
    AMBIGUOUS = "handle_ambiguous"
    BLOCKED = "address_blocked"
    SCHEME = "url_scheme"
    REDIRECTS = "too_many_redirects"
    STATUS = "http_status"
    TOO_LARGE = "body_too_large"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BUSY = "busy"


TRANSIENT = frozenset(
    {IdentityReason.STATUS, IdentityReason.UNREACHABLE, IdentityReason.TIMEOUT, IdentityReason.BUSY},
)


class IdentityRefused(Refused):
    """An identity that does not resolve or does not hold; `reason` is an IdentityReason.

    `retry_after`: seconds until another attempt is welcome, where a server has said so.
    """

    def __init__(self, reason: IdentityReason, detail: str, retry_after: float | None = None) -> None:
        super().__init__(reason, detail)
        self.transient = reason in TRANSIENT
        self.retry_after = retry_after
