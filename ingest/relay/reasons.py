"""Why the relay refuses a host, a connection or a message before and beside verification; a bounded metric label.

Does not own why bytes of a repo are refused (`ingest.repo.reasons`), an identity (`ingest.identity.reasons`) or an
entry (`ingest.log.Reason`).
"""

from __future__ import annotations

from enum import StrEnum


class RelayReason(StrEnum):
    # a host that asks to be crawled, or that an operator names
    HOST_SYNTAX = "host_syntax"
    HOST_BANNED = "host_banned"
    HOST_OURS = "host_ours"
    HOST_KNOWN = "host_known"
    HOST_UNKNOWN = "host_unknown"
    ACCOUNT_UNKNOWN = "account_unknown"
    HOST_IS_RELAY = "host_is_relay"
    HOST_NO_PDS = "host_no_pds"
    HOST_UNREACHABLE = "host_unreachable"
    HOST_SILENT = "host_silent"
    HOST_CLOSED = "host_closed"
    HOST_REDIRECTS = "host_redirects"
    HOST_ERROR = "host_error"
    HOST_FRAMES = "host_frames"
    FUTURE_CURSOR = "future_cursor"
    OUTDATED_CURSOR = "outdated_cursor"
    CONSUMER_TOO_SLOW = "consumer_too_slow"
    NEW_HOSTS_QUOTA = "new_hosts_quota"
    LOOP = "loop"
    # a message of a host
    SEQ_STALE = "seq_stale"
    SEQ_RESET = "seq_reset"
    HOSTED_HERE = "hosted_here"
    NOT_AUTHORITATIVE = "not_authoritative"
    NO_SIGNING_KEY = "no_signing_key"
    HOST_ACCOUNTS = "host_accounts"
    ACCOUNT_QUOTA = "account_quota"
    ACCOUNT_INACTIVE = "account_inactive"
    DISCONTINUOUS = "discontinuous"
    CATCHING_UP = "catching_up"
    # a repo that is fetched to catch up
    REPO_STATUS = "repo_status"
    REPO_SIZE = "repo_size"
    REPO_SLOW = "repo_slow"
    REPO_UNREACHABLE = "repo_unreachable"
    REPO_BEHIND = "repo_behind"


LETS_US_WAIT = frozenset((RelayReason.REPO_SLOW, RelayReason.REPO_UNREACHABLE))
"""A host that is to be left alone for a while, with all its accounts."""
