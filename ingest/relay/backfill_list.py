"""What a host answers to com.atproto.sync.listRepos and getLatestCommit, read strictly. Pure.

One entry that cannot be read is counted, and the page goes on; a page that cannot be read is refused. Does not own the
connection (`ingest.relay.outgoing`) nor whether the host may speak for an account.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ingest.relay.backfill_reasons import BackfillReason
from schemas.entries import Status
from schemas.errors import Refused
from schemas.limits import DID_MAX
from schemas.syntax import Did
from schemas.tid import Tid

PAGE = 1_000  # the lexicon's most
PAGE_BYTES = 4_000_000
CURSOR_MAX = 2_048

# As `ingest.relay.judge` reads #account: a word that is not known hides as deactivation does.
_STATUSES: dict[str, Status] = {
    "deleted": "deleted",
    "suspended": "suspended",
    "takendown": "takendown",
    "desynchronized": "desynchronized",
    "throttled": "throttled",
}


class Listed(NamedTuple):
    """An account as its host's list names it; `rev` None: not said."""

    did: Did
    rev: Tid | None = None
    status: Status = "active"


class Page(NamedTuple):
    """`bad`: entries that could not be read. `cursor` None: the list ends here."""

    accounts: list[Listed]
    bad: int
    cursor: str | None


def read_page(answer: object) -> Page:
    """Raises Refused(HOST_LIST)."""
    if not isinstance(answer, dict) or not isinstance(answer.get("repos"), list):
        raise Refused(BackfillReason.HOST_LIST, "expected an object with a list `repos`")
    repos, cursor = answer["repos"], answer.get("cursor")
    if len(repos) > PAGE:
        raise Refused(BackfillReason.HOST_LIST, f"expected at most {PAGE} repos on a page, found {len(repos)}")
    if cursor is not None and (not isinstance(cursor, str) or len(cursor) > CURSOR_MAX):
        raise Refused(BackfillReason.HOST_LIST, f"expected the cursor to be a text of at most {CURSOR_MAX} characters")
    found = [_listed(repo) for repo in repos]
    accounts = [account for account in found if account is not None]
    return Page(accounts, len(found) - len(accounts), cursor or None)


def read_latest(answer: object) -> Tid:
    """The rev of getLatestCommit. Raises Refused(HOST_LIST)."""
    rev = answer.get("rev") if isinstance(answer, dict) else None
    if not isinstance(rev, str) or not Tid.is_valid(rev):
        raise Refused(BackfillReason.HOST_LIST, "expected getLatestCommit to give a rev")
    return Tid(rev)


def _listed(repo: Any) -> Listed | None:
    if not isinstance(repo, dict):
        return None
    did, rev, active, status = repo.get("did"), repo.get("rev"), repo.get("active", True), repo.get("status")
    if not isinstance(did, str) or len(did) > DID_MAX or not Did.is_valid(did):
        return None
    known = Tid(rev) if isinstance(rev, str) and Tid.is_valid(rev) else None
    state: Status = "active" if active is not False else _STATUSES.get(str(status), "deactivated")
    return Listed(Did(did), known, state)
