"""A whole repo (CAR v1) into the log: verified, then what differs from the log's own copy as one diff.

Does not own the format (`ingest.repo`), the verdict on the diff (`ingest.verdict`) nor where the bytes come from.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable

from headrace.outcomes import Outcomes
from ingest.identity.did_doc import DidDocument
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.log import Rejected
from ingest.relay.reasons import RelayReason
from ingest.relay.repo_diff import RepoLog, append_diff, changes, read_repo, records_of
from ingest.repo.commit import SignedCommit
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import check_rev
from schemas.entries import Identity
from schemas.errors import Refused
from schemas.syntax import Did

CAR_MAX = 1_000_000_000  # bytes of one file; its blocks are held in memory while it is verified


async def feed_car(
    log: RepoLog,
    resolver: DidResolver,
    hosted: Callable[[str], bool],
    pieces: AsyncIterator[bytes],
    *,
    trust_handles: bool = False,
    trust_signature: bool = False,
    now: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> Outcomes:
    """Raises Refused when nothing of the file can enter; Rejected is an outcome (the log's head has moved on).

    `trust_signature` is the operator's word for an account that no longer resolves (an archived repo): the signature
    alone is then not checked, and the summary says so. Hashes, the tree and every path always are.
    """
    signed, blocks = await read_repo(pieces, CAR_MAX)
    did = signed.did
    if hosted(did):
        raise Refused(RelayReason.HOSTED_HERE, f"{did} is hosted here: use com.atproto.repo.importRepo")
    document = await _document(resolver, did, trust_signature=trust_signature)
    if not trust_signature:
        _check_signature(signed, document)
    check_rev(signed.rev, None, now())
    outcomes = Outcomes("records")
    signature = "not checked" if trust_signature else "verified"
    outcomes.more = {"did": did, "rev": signed.rev, "commit": str(signed.cid), "signature": signature}
    records = records_of(signed, blocks)
    head = log.head(did)
    if trust_handles and document is not None and document.handles:
        handle = document.handles[0]
        if head is None or head.handle != handle:
            await log.append(Identity(did, handle))
            head = log.head(did)
    if head is not None and head.commit == signed.cid:
        outcomes.more["unchanged"] = len(records)
        return outcomes
    ops = await changes(log, did, records, blocks)
    try:
        await append_diff(log, head, signed, ops)
    except Rejected as rejected:
        outcomes.refuse(rejected, did)
    else:
        outcomes.accept(len(ops))
        outcomes.more["unchanged"] = len(records) - sum(op.action != "delete" for op in ops)
    return outcomes


async def _document(resolver: DidResolver, did: Did, *, trust_signature: bool) -> DidDocument | None:
    try:
        return await resolver.did_document(did, refresh=True)
    except IdentityRefused as refused:
        if trust_signature:
            return None
        cure = "give its document with --did-docs, or take your own word for the repo with --trust-signature"
        raise IdentityRefused(IdentityReason(refused.reason), f"{refused.detail}: {cure}") from None


def _check_signature(signed: SignedCommit, document: DidDocument | None) -> None:
    if document is None or document.signing_key is None:
        raise Refused(RelayReason.NO_SIGNING_KEY, f"{signed.did} has no #atproto key")
    if not signed.is_signed_by(document.signing_key):
        raise Refused(RepoReason.SIGNATURE, f"the commit is not signed by {document.signing_key.did_key}")
