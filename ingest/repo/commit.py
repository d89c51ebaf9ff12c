"""The signed commit of a repo, version 3 (https://atproto.com/specs/repository#commit-objects).

`sig` is over the SHA-256 of the commit's DAG-CBOR without `sig`: 64 bytes, low-S. Encoded by hand in canonical order,
so that a block is strict if and only if encoding its fields gives it back.
Does not own keys (`ingest.repo.keys`) nor the order of revs (`ingest.verdict`).
"""

from __future__ import annotations

from typing import NamedTuple

import libipld

from ingest.repo.keys import PrivateKey, PublicKey
from ingest.repo.reasons import RepoReason
from ingest.repo.wire import link, text
from schemas.cid import CBOR_PREFIX, Cid
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import Tid

VERSION = 3
_FIELDS = frozenset(("did", "rev", "sig", "data", "prev", "version"))


class UnsignedCommit(NamedTuple):
    """What an account signs. `prev` is null in version 3, kept where an old repo still names one."""

    did: Did
    rev: Tid
    data: Cid
    prev: Cid | None = None

    def message(self) -> bytes:
        """The bytes that are signed."""
        return b"\xa5" + _front(self.did, self.rev) + _back(self.data.raw, self.prev)

    def sign(self, key: PrivateKey) -> SignedCommit:
        signature = key.sign(self.message())
        block = b"".join(
            (b"\xa6", _front(self.did, self.rev), b"csigX@", signature, _back(self.data.raw, self.prev)),
        )
        return SignedCommit(self.did, self.rev, self.data, self.prev, signature, block)


class SignedCommit(NamedTuple):
    """A commit as it stands in a repo; `block` is its DAG-CBOR."""

    did: Did
    rev: Tid
    data: Cid
    prev: Cid | None
    sig: bytes
    block: bytes

    @property
    def cid(self) -> Cid:
        return Cid.of_cbor(self.block)

    def message(self) -> bytes:
        return UnsignedCommit(self.did, self.rev, self.data, self.prev).message()

    def is_signed_by(self, key: PublicKey) -> bool:
        return key.verify(self.message(), self.sig)


def decode_commit(block: bytes) -> SignedCommit:
    """Parse strictly. Raises Refused: COMMIT_VERSION for repos of version 2, COMMIT_ENCODING, REV_SYNTAX. HOT."""
    try:
        value = libipld.decode_dag_cbor(block)
    except (ValueError, RecursionError) as error:
        raise Refused(RepoReason.COMMIT_ENCODING, f"not DAG-CBOR: {error}") from error
    if value.__class__ is not dict:
        raise Refused(RepoReason.COMMIT_ENCODING, "expected a map")
    if value.get("version") != VERSION:
        raise Refused(
            RepoReason.COMMIT_VERSION,
            f"expected a repo of version 3, found {value.get('version')!r}: its host has to migrate it first",
        )
    if value.keys() != _FIELDS:
        raise Refused(RepoReason.COMMIT_ENCODING, f"expected the fields {sorted(_FIELDS)}, found {sorted(value)}")
    did, rev, sig, data, prev = value["did"], value["rev"], value["sig"], value["data"], value["prev"]
    if (
        did.__class__ is not str
        or rev.__class__ is not str
        or sig.__class__ is not bytes
        or data.__class__ is not bytes
        or not (prev is None or prev.__class__ is bytes)
    ):
        raise Refused(RepoReason.COMMIT_ENCODING, "did and rev are text, sig bytes, data a link, prev a link or null")
    if len(sig) != 64:
        raise Refused(RepoReason.COMMIT_ENCODING, f"a signature has 64 bytes, found {len(sig)}")
    before = None if prev is None else Cid(prev)
    if b"".join((b"\xa6", _front(did, rev), b"csigX@", sig, _back(data, before))) != block:
        raise Refused(RepoReason.COMMIT_ENCODING, "not the canonical encoding of its fields")
    if len(data) != 36 or not data.startswith(CBOR_PREFIX):
        raise Refused(RepoReason.COMMIT_ENCODING, "data is linked by a CIDv1 of DAG-CBOR and SHA-256")
    return SignedCommit(_did(did), _rev(rev), Cid(data), before, sig, block)


def _front(did: str, rev: str) -> bytes:
    return b"".join((b"cdid", text(did), b"crev", text(rev)))


def _back(data: bytes, prev: Cid | None) -> bytes:
    return b"".join((b"ddata", link(data), b"dprev", b"\xf6" if prev is None else link(prev.raw), b"gversion\x03"))


def _did(value: str) -> Did:
    try:
        return Did.parse(value)
    except Refused as error:
        raise Refused(RepoReason.COMMIT_ENCODING, error.detail) from error


def _rev(value: str) -> Tid:
    try:
        return Tid.parse(value)
    except Refused as error:
        raise Refused(RepoReason.REV_SYNTAX, error.detail) from error
