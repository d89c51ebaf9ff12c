"""The protocol's own signature and did:key vectors."""

from __future__ import annotations

import base64
import json
from time import time

import pytest

from ingest.identity.service_auth import create
from ingest.repo import base58
from ingest.repo.keys import PrivateKey, PublicKey
from schemas.syntax import Did

CRYPTO = "bluesky-social/atproto-interop-tests/crypto"


def _b64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def test_every_signature_fixture_verifies_as_its_file_says(vectors):
    cases = json.loads(vectors(f"{CRYPTO}/signature-fixtures.json").read_text())

    for case in cases:
        key = PublicKey.from_did_key(case["publicKeyDid"])
        curve = {"ES256": "p256", "ES256K": "k256"}[case["algorithm"]]
        legacy = PublicKey.from_legacy_multibase(curve, case["publicKeyMultibase"])
        verdict = key.verify(_b64(case["messageBase64"]), _b64(case["signatureBase64"]))
        assert (key.curve, key) == (curve, legacy), case["comment"]
        assert verdict is case["validSignature"], case["comment"]
    assert len(cases) >= 6
    assert {case["validSignature"] for case in cases} == {True, False}


@pytest.mark.parametrize(("name", "curve"), [("K256", "k256"), ("P256", "p256")])
def test_w3c_private_keys_give_their_did_key(vectors, name, curve):
    cases = json.loads(vectors(f"{CRYPTO}/w3c_didkey_{name}.json").read_text())

    for case in cases:
        secret = case.get("privateKeyBytesHex")
        raw = bytes.fromhex(secret) if secret else base58.decode(case["privateKeyBytesBase58"])
        key = PrivateKey.from_bytes(curve, raw)
        assert key.public.did_key == case["publicDidKey"]
        assert PublicKey.from_did_key(case["publicDidKey"]) == key.public
    assert cases


@pytest.mark.parametrize("curve", ["k256", "p256"])
def test_our_signatures_and_keys_hold_in_the_python_sdk(curve):
    sdk = pytest.importorskip("atproto_crypto.verify")
    key = PrivateKey.generate(curve)

    for number in range(16):
        message = b"message %d" % number
        assert sdk.verify_signature(key.public.did_key, message, key.sign(message))
        assert not sdk.verify_signature(key.public.did_key, b"another", key.sign(message))


@pytest.mark.parametrize("curve", ["k256", "p256"])
def test_our_service_tokens_hold_in_the_python_sdk(curve):
    sdk = pytest.importorskip("atproto_server.auth.jwt")
    key = PrivateKey.generate(curve)
    token = create(
        key, Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), "did:web:api.test", "app.bsky.feed.getTimeline", time()
    )

    payload = sdk.verify_jwt(token, lambda _did, _refresh: key.public.did_key, "did:web:api.test")

    assert (payload.iss, payload.lxm) == ("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "app.bsky.feed.getTimeline")
