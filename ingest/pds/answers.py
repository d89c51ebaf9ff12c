"""What the PDS answers where no other file has a form for it. Shapes of JSON are the endpoints' matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ingest.pds.reads import Counts
from schemas.cid import Cid
from schemas.syntax import Did, Handle
from schemas.tid import Tid


@dataclass(frozen=True, slots=True)
class RepoStatus:
    """`status` is None for an active repo; `rev` and `commit` are None before there is a repo."""

    did: Did
    active: bool
    status: str | None
    rev: Tid | None
    commit: Cid | None


@dataclass(frozen=True, slots=True)
class RepoDescription:
    did: Did
    handle: Handle
    did_doc: dict[str, Any]
    collections: Sequence[str]
    handle_is_correct: bool


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """For checkAccountStatus; before an import `commit` and `rev` are those of an empty repo."""

    activated: bool
    valid_did: bool
    commit: Cid
    rev: Tid
    counts: Counts


@dataclass(frozen=True, slots=True)
class Takedown:
    """For com.atproto.admin; `reference` is None where nothing is taken down."""

    subject: str
    reference: str | None
    deactivated: bool = False
