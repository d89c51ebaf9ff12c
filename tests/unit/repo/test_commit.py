"""Signed commits: what is signed is what is read, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.repo.commit import UnsignedCommit, decode_commit
from ingest.repo.keys import PrivateKey
from ingest.repo.reasons import RepoReason
from schemas import cbor
from schemas.cid import Cid
from schemas.errors import Refused
from schemas.syntax import Did
from schemas.tid import Tid

DATA = Cid.of_cbor(b"data")
UNSIGNED = UnsignedCommit(Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), Tid("3mptbypluud2a"), DATA)
KEY = PrivateKey.from_bytes("k256", b"\x07" * 32)
FIELDS = {
    "did": str(UNSIGNED.did),
    "rev": str(UNSIGNED.rev),
    "data": DATA,
    "prev": None,
    "version": 3,
    "sig": bytes(64),
}


@pytest.mark.parametrize("curve", ["k256", "p256"])
@pytest.mark.parametrize("prev", [None, Cid.of_cbor(b"prev")])
def test_a_signed_commit_is_read_as_it_was_signed(curve, prev):
    key = PrivateKey.from_bytes(curve, b"\x07" * 32)

    signed = UNSIGNED._replace(prev=prev).sign(key)
    found = decode_commit(signed.block)

    assert found == signed
    assert found.is_signed_by(key.public)
    assert not found.is_signed_by(PrivateKey.from_bytes(curve, b"\x08" * 32).public)
    assert found.cid == Cid.of_cbor(signed.block)
    fields = cbor.decode(signed.block)
    assert fields == {**FIELDS, "prev": prev, "sig": signed.sig}
    del fields["sig"]
    assert cbor.encode(fields) == found.message()


@settings(deadline=None)
@given(st.binary(min_size=64, max_size=64))
def test_a_signature_stays_bytes_even_when_it_parses_as_a_cid(random):
    for sig in (random, b"\x01\x71\x12\x3c" + random[:60]):
        assert decode_commit(cbor.encode({**FIELDS, "sig": sig})).sig == sig


MALFORMED = {
    "not CBOR": (b"\xff", RepoReason.COMMIT_ENCODING),
    "not a map": (b"\x80", RepoReason.COMMIT_ENCODING),
    "trailing bytes": (cbor.encode(FIELDS) + b"\x00", RepoReason.COMMIT_ENCODING),
    "version 2": (cbor.encode({**FIELDS, "version": 2}), RepoReason.COMMIT_VERSION),
    "version 4": (cbor.encode({**FIELDS, "version": 4}), RepoReason.COMMIT_VERSION),
    "no version": (cbor.encode({k: v for k, v in FIELDS.items() if k != "version"}), RepoReason.COMMIT_VERSION),
    "a version that is true": (cbor.encode({**FIELDS, "version": True}), RepoReason.COMMIT_VERSION),
    "no prev": (cbor.encode({k: v for k, v in FIELDS.items() if k != "prev"}), RepoReason.COMMIT_ENCODING),
    "a field too many": (cbor.encode({**FIELDS, "x": 1}), RepoReason.COMMIT_ENCODING),
    "a long integer": (cbor.encode(FIELDS).replace(b"version\x03", b"version\x18\x03"), RepoReason.COMMIT_ENCODING),
    "data that is bytes": (cbor.encode({**FIELDS, "data": DATA.raw}), RepoReason.COMMIT_ENCODING),
    "data that is a blob": (cbor.encode({**FIELDS, "data": Cid.of_raw(b"x")}), RepoReason.COMMIT_ENCODING),
    "a signature that is a link": (cbor.encode({**FIELDS, "sig": DATA}), RepoReason.COMMIT_ENCODING),
    "a DER signature": (cbor.encode({**FIELDS, "sig": bytes(70)}), RepoReason.COMMIT_ENCODING),
    "a did that is none": (cbor.encode({**FIELDS, "did": "example.com"}), RepoReason.COMMIT_ENCODING),
    "a rev that is no TID": (cbor.encode({**FIELDS, "rev": "now"}), RepoReason.REV_SYNTAX),
    "a rev that is a number": (cbor.encode({**FIELDS, "rev": 7}), RepoReason.COMMIT_ENCODING),
    "900 maps deep": (b"\xa1aa" * 900 + b"\x01", RepoReason.COMMIT_VERSION),
    "100,000 arrays deep": (b"\x81" * 100_000 + b"\x01", RepoReason.COMMIT_ENCODING),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_commit_is_refused_with_its_reason(name):
    block, reason = MALFORMED[name]

    with pytest.raises(Refused) as caught:
        decode_commit(block)

    assert caught.value.reason == reason, caught.value.detail


def test_a_repo_of_version_2_is_told_what_to_do():
    with pytest.raises(Refused, match="its host has to migrate it"):
        decode_commit(MALFORMED["version 2"][0])
