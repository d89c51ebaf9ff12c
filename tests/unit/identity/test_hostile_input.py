"""Whatever a stranger sends, the answer is a refusal of the right family, never another exception."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from json import dumps

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.identity import did_doc, plc, plc_op, plc_store, service_auth
from ingest.identity.did_doc import DidDocument
from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityRefused
from ingest.repo.keys import KeyRefused, PrivateKey, PublicKey
from schemas.errors import Refused, XrpcError
from schemas.syntax import Did

KEY = PrivateKey.generate()
DID = Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
OP = plc_op.sign(plc_op.account(KEY.public.did_key, "a.test", "https://p", [KEY.public.did_key]), KEY)
TOKEN = service_auth.create(KEY, DID, "did:web:a", "a.b.c", 1_000)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(OP)), json)
def test_an_operation_with_any_one_field_replaced_is_parsed_or_refused(field, value):
    try:
        op = plc_op.parse(OP | {field: value})
        plc.accept(op.did, [], op, 0)
    except PlcRefused:
        return
    assert value == OP[field]


@given(json)
def test_any_audit_log_is_refused(value):
    with pytest.raises(Refused):
        plc.validate_log([{"did": DID, "operation": value, "cid": "b", "nullified": False, "createdAt": "x"}])


@given(st.sampled_from(["id", "alsoKnownAs", "verificationMethod", "service"]), json)
def test_any_did_document_is_read_or_refused(field, value):
    try:
        did_doc.parse(DID, {"id": DID} | {field: value})
    except IdentityRefused:
        assert field == "id"


@given(text)
def test_any_text_is_a_key_or_refused(value):
    for written in (value, f"did:key:{value}", f"did:key:z{value}"):
        with pytest.raises(KeyRefused):
            PublicKey.from_did_key(written)


class Known:
    async def did_document(self, did, *, refresh=False):  # noqa: ARG002
        return DidDocument(did, (), KEY.public, None, ())


def attempt(token):
    replays = service_auth.ReplayGuard()
    return asyncio.run(service_auth.verify(token, ("did:web:a",), "a.b.c", Known(), 1_000, replays=replays))


@given(st.integers(0, len(TOKEN) - 1), st.characters(exclude_categories=["Cs"]))
def test_a_token_with_one_character_changed_is_refused(place, character):
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    if changed != TOKEN:
        with pytest.raises(XrpcError) as refused:
            attempt(changed)
        assert refused.value.status == 401


@given(st.binary(max_size=60) | json.map(lambda value: dumps(value).encode()), json)
def test_any_header_and_payload_is_refused(header, payload):
    parts = [urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, dumps(payload).encode(), bytes(64))]

    with pytest.raises(XrpcError) as refused:
        attempt(".".join(parts))
    assert refused.value.status == 401


async def test_operations_beyond_the_line_are_refused_as_busy(tmp_path, monkeypatch):
    monkeypatch.setattr(plc_store, "MAX_WAITING", 2)
    directory = PlcDirectory(tmp_path / "plc.sqlite")
    signed = [
        plc_op.parse(
            plc_op.sign(plc_op.account(KEY.public.did_key, f"a{n}.test", "https://p", [KEY.public.did_key]), KEY)
        )
        for n in range(3)
    ]

    outcomes = await asyncio.gather(*(directory.submit(op.did, op.json) for op in signed), return_exceptions=True)
    await directory.close()

    assert outcomes[:2] == [None, None]
    assert outcomes[2].reason is PlcReason.BUSY
