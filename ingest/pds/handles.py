"""Which handles an account of this PDS may take.

Rules of the reference (TS packages/pds/src/handle): under one of our domains one label of 3 to 18 characters that is
not reserved; elsewhere any handle that resolves to the account's DID. Does not own resolution (ingest/identity).
"""

from __future__ import annotations

from collections.abc import Sequence

from ingest.pds.refusals import invalid_request
from schemas.errors import XrpcError
from schemas.syntax import Handle, SyntaxRefused

_DISALLOWED_TLDS = (".local", ".arpa", ".invalid", ".localhost", ".internal", ".example", ".alt", ".onion")
_LABEL_MIN = 3
_SERVICE_HANDLE_MAX = 30

# Names a visitor would take for the service itself.
_RESERVED = frozenset(
    """about abuse account accounts admin administrator api app apps appview atp atproto auth backup billing blob blog
    bluesky bot bots bsky cache cdn config contact cursor data dev dns docs domain download email export faq favicon
    feed feeds firehose ftp handle handler help home host hostmaster image images imap info invite jetstream jobs label
    labeler labels legal lexicon list lists log login logout mail mailer metrics moderation moderator mod news noreply
    nobody notifications ns1 ns2 nsid oauth official ops owner password pds plc pop3 postmaster press privacy profile
    proxy pub relay repo reports root rss sandbox search security server service settings signin signup smtp ssl static
    status store sub support sysadmin system team terms tid tos token trust undefined update upload user users video
    webmaster well-known www xrpc""".split()  # noqa: SIM905 - read as a list of words
)


def parse_handle(text: str) -> Handle:
    """Raises XrpcError InvalidHandle; the result is in lower case."""
    try:
        handle = Handle.parse(text)
    except SyntaxRefused as refused:
        raise XrpcError("InvalidHandle", f"Invalid handle: {refused.detail}") from refused
    if handle.endswith(_DISALLOWED_TLDS):
        raise XrpcError("InvalidHandle", "Handle TLD is invalid or disallowed")
    return handle


def service_domain(handle: Handle, domains: Sequence[str]) -> str | None:
    """The domain of ours that `handle` lies under."""
    return next((domain for domain in domains if handle.endswith(domain)), None)


def check_service_handle(handle: Handle, domain: str, *, allow_reserved: bool = False) -> None:
    """Raises XrpcError InvalidHandle or HandleNotAvailable."""
    front = handle[: -len(domain)]
    if "." in front:
        raise XrpcError("InvalidHandle", "Invalid characters in handle")
    if len(front) < _LABEL_MIN:
        raise XrpcError("InvalidHandle", "Handle too short")
    if len(handle) > _SERVICE_HANDLE_MAX:
        raise XrpcError("InvalidHandle", "Handle too long")
    if front in _RESERVED and not allow_reserved:
        raise XrpcError("HandleNotAvailable", "Reserved handle")


def check_new_handle(text: str, domains: Sequence[str]) -> Handle:
    """A handle for an account without a DID yet: it must lie under one of our domains."""
    handle = parse_handle(text)
    domain = service_domain(handle, domains)
    if domain is None:
        raise XrpcError("UnsupportedDomain", "Not a supported handle domain")
    check_service_handle(handle, domain)
    return handle


def external_mismatch() -> XrpcError:
    return invalid_request("External handle did not resolve to DID")
