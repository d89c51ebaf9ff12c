from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.repo import base58, p256
from ingest.repo.keys import KeyReason, KeyRefused, PrivateKey, PublicKey

K256_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ORDERS = {"k256": K256_ORDER, "p256": p256.ORDER}
curves = pytest.mark.parametrize("curve", ["k256", "p256"])


@curves
def test_a_signature_verifies_only_for_its_message_and_key(curve):
    key, other = PrivateKey.generate(curve), PrivateKey.generate(curve)
    signature = key.sign(b"message")

    assert len(signature) == 64
    assert key.public.verify(b"message", signature)
    assert not key.public.verify(b"massage", signature)
    assert not other.public.verify(b"message", signature)


@curves
def test_signatures_are_low_s_and_their_high_s_twins_are_refused(curve):
    key, order = PrivateKey.generate(curve), ORDERS[curve]
    for number in range(32):
        message = b"%d" % number
        signature = key.sign(message)
        s = int.from_bytes(signature[32:], "big")
        twin = signature[:32] + (order - s).to_bytes(32, "big")
        assert s <= order // 2
        assert key.public.verify(message, signature)
        assert not key.public.verify(message, twin)


@curves
@pytest.mark.parametrize("cut", [0, 1, 63, 65, 70, 72])
def test_a_signature_of_any_other_length_is_refused(curve, cut):
    key = PrivateKey.generate(curve)

    assert not key.public.verify(b"m", (key.sign(b"m") + bytes(8))[:cut])


@curves
@pytest.mark.parametrize("part", ["r0", "s0", "r_order", "s_order", "ones"])
def test_numbers_outside_the_order_are_refused_without_an_exception(curve, part):
    key, order = PrivateKey.generate(curve), ORDERS[curve].to_bytes(32, "big")
    r, s = (signature := key.sign(b"m"))[:32], signature[32:]
    forged = {
        "r0": bytes(32) + s,
        "s0": r + bytes(32),
        "r_order": order + s,
        "s_order": r + order,
        "ones": b"\xff" * 64,
    }[part]

    assert not key.public.verify(b"m", forged)


@curves
def test_text_forms_round_trip_and_parsed_keys_are_shared(curve):
    key = PrivateKey.generate(curve)

    public = PublicKey.from_did_key(key.public.did_key)

    assert public == key.public
    assert PublicKey.from_multikey(key.public.multikey) is public
    assert public.did_key.startswith({"k256": "did:key:zQ3s", "p256": "did:key:zDn"}[curve])
    assert PrivateKey.from_bytes(curve, key.to_bytes()) == key
    assert PublicKey.from_did_key(public.did_key).verify(b"x", key.sign(b"x"))


@curves
def test_a_private_key_shows_no_secret(curve):
    key = PrivateKey.from_bytes(curve, b"\x07" * 32)

    assert "\\x07" not in repr(key)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("did:plc:abc", KeyReason.MULTIBASE),
        ("did:key:", KeyReason.MULTIBASE),
        ("did:key:f00", KeyReason.MULTIBASE),
        ("did:key:z0OIl", KeyReason.MULTIBASE),
        ("did:key:z" + "2" * 300, KeyReason.MULTIBASE),
        ("did:key:z", KeyReason.CURVE),
        ("did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", KeyReason.CURVE),
        ("did:key:z" + base58.encode(b"\xe7\x01" + b"\x02" * 32), KeyReason.POINT),
        ("did:key:z" + base58.encode(b"\xe7\x01" + b"\x05" + b"\x02" * 32), KeyReason.POINT),
        ("did:key:z" + base58.encode(b"\x80\x24" + b"\x02" + b"\xff" * 32), KeyReason.POINT),
        ("did:key:z" + base58.encode(b"\xe7\x01\x04" + b"\x02" * 64), KeyReason.POINT),
    ],
)
def test_a_bad_did_key_is_refused_with_its_reason(text, reason):
    with pytest.raises(KeyRefused) as refused:
        PublicKey.from_did_key(text)

    assert refused.value.reason is reason


@curves
@pytest.mark.parametrize("secret", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32), b"\xff" * 32])
def test_a_secret_out_of_range_is_refused(curve, secret):
    with pytest.raises(KeyRefused) as refused:
        PrivateKey.from_bytes(curve, secret)

    assert refused.value.reason is KeyReason.SECRET


@given(st.binary(max_size=64))
def test_base58_round_trips(data):
    assert base58.decode(base58.encode(data)) == data
