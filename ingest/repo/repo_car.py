"""Whole repos and single records that arrive as a CAR, checked down to the last block.

Does not own what becomes of them (importRepo, resync), nor which key is an account's (ingest/identity).
"""

from __future__ import annotations

from typing import NamedTuple

from ingest.repo.car import read_car, require_root
from ingest.repo.commit import SignedCommit, decode_commit
from ingest.repo.keys import PublicKey
from ingest.repo.mst import Tree
from ingest.repo.reasons import MissingBlock, RepoReason
from ingest.repo.verify import check_path
from schemas.cid import Cid
from schemas.errors import Refused


class RepoCar(NamedTuple):
    """A whole repo: every node and every record is in `blocks` (which may hold others too)."""

    signed: SignedCommit
    tree: Tree
    blocks: dict[bytes, bytes]


def open_repo_car(data: bytes) -> RepoCar:
    """Read a whole repo; its signature is the caller's to check (`signed.is_signed_by(key)`). Raises Refused.

    MISSING_BLOCK when a node or a record is not there, NODE_* for a malformed tree, OP_PATH for a key that no commit
    could have brought. A record may be any bytes.
    """
    return open_repo_blocks(*read_car(data))


def open_repo_blocks(roots: list[Cid], blocks: dict[bytes, bytes]) -> RepoCar:
    """`open_repo_car` on what a CarReader gave."""
    signed = decode_commit(blocks[require_root(roots, blocks).raw])
    tree = Tree.open(signed.data, blocks.__getitem__)
    for path, cid in tree.items():
        check_path(path)
        if cid.raw not in blocks:
            raise MissingBlock(cid.raw, f"record {path}")
    return RepoCar(signed, tree, blocks)


class RecordProof(NamedTuple):
    """What a commit says of one key: the record and its CID, or twice None when there is none."""

    signed: SignedCommit
    cid: Cid | None
    record: bytes | None


def open_record_proof(data: bytes, collection: str, rkey: str) -> RecordProof:
    """Read a getRecord CAR; its signature is the caller's to check. Raises Refused, MISSING_BLOCK when it is short."""
    roots, blocks = read_car(data)
    signed = decode_commit(blocks[require_root(roots, blocks).raw])
    path = f"{collection}/{rkey}"
    cid = Tree.open(signed.data, blocks.__getitem__).get(path)
    if cid is None:
        return RecordProof(signed, None, None)
    record = blocks.get(cid.raw)
    if record is None:
        raise MissingBlock(cid.raw, f"record {path}")
    return RecordProof(signed, cid, record)


def verify_record_proof(data: bytes, did: str, key: PublicKey, collection: str, rkey: str) -> RecordProof:
    """`open_record_proof`, of this account and signed by its key. Raises Refused."""
    proof = open_record_proof(data, collection, rkey)
    if proof.signed.did != did:
        raise Refused(RepoReason.FIELD_MISMATCH, f"the commit is of {proof.signed.did}, expected {did}")
    if not proof.signed.is_signed_by(key):
        raise Refused(RepoReason.SIGNATURE, f"the commit of {did} is not signed by {key.did_key}")
    return proof
