from __future__ import annotations

import asyncio

import pytest

from ingest.identity import plc, plc_op
from ingest.identity.plc_limits import HOUR_MS, check, check_rate
from ingest.identity.plc_op import PlcReason, PlcRefused
from ingest.identity.plc_store import PlcDirectory
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.repo.keys import PrivateKey
from schemas.syntax import Did

HIGH, LOW, SIGNING = PrivateKey.generate("p256"), PrivateKey.generate(), PrivateKey.generate()
KEYS = [HIGH.public.did_key, LOW.public.did_key]


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


def genesis(key=LOW, **changes):
    op = plc_op.account(SIGNING.public.did_key, "alice.test", "https://pds.test", KEYS) | changes
    return plc_op.parse(plc_op.sign(op, key))


def after(last, key=LOW, **changes):
    return plc_op.parse(plc_op.sign(plc_op.updated(last, **changes), key))


@pytest.fixture
async def directory(tmp_path):
    opened = PlcDirectory(tmp_path / "plc.sqlite", Clock())
    yield opened
    await opened.close()


async def refusal(directory, did, op):
    with pytest.raises(PlcRefused) as refused:
        await directory.submit(did, op.json if isinstance(op, plc_op.Operation) else op)
    return refused.value


async def test_a_created_account_resolves_to_its_document(directory):
    first = genesis()

    await directory.submit(first.did, first.json)

    assert await directory.document(first.did) == {
        "@context": [
            "https://www.w3.org/ns/did/v1",
            "https://w3id.org/security/multikey/v1",
            "https://w3id.org/security/suites/secp256k1-2019/v1",
        ],
        "id": first.did,
        "alsoKnownAs": ["at://alice.test"],
        "verificationMethod": [
            {
                "id": f"{first.did}#atproto",
                "type": "Multikey",
                "controller": first.did,
                "publicKeyMultibase": SIGNING.public.multikey,
            },
        ],
        "service": [
            {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.test"},
        ],
    }


async def test_what_was_submitted_is_there_after_reopening(tmp_path):
    first, path = genesis(), tmp_path / "plc.sqlite"
    opened = PlcDirectory(path)
    await opened.submit(first.did, first.json)
    await opened.close()

    reopened = PlcDirectory(path)

    assert await reopened.last(first.did) == first.json
    await reopened.close()


async def test_an_operation_submitted_twice_is_refused_the_second_time(directory):
    first = genesis()
    await directory.submit(first.did, first.json)

    refused = await refusal(directory, first.did, first)

    assert (refused.reason, refused.detail) == (PlcReason.ORDER, "Operations not correctly ordered")
    assert len(await directory.log(first.did)) == 1


async def test_a_genesis_for_another_did_is_refused(directory):
    refused = await refusal(directory, Did("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"), genesis())

    assert refused.reason is PlcReason.GENESIS_HASH


async def test_only_rotation_keys_may_sign(directory):
    stranger = genesis(key=SIGNING)
    assert (await refusal(directory, stranger.did, stranger)).reason is PlcReason.SIGNATURE

    first = genesis()
    await directory.submit(first.did, first.json)
    assert (await refusal(directory, first.did, after(first, SIGNING))).reason is PlcReason.SIGNATURE


async def test_of_two_operations_on_one_prev_in_one_batch_the_second_is_refused(directory):
    first = genesis()
    await directory.submit(first.did, first.json)
    rivals = [after(first, also_known_as=[f"at://{name}.test"]) for name in ("bob", "carol")]

    outcomes = await asyncio.gather(
        *(directory.submit(first.did, rival.json) for rival in rivals),
        return_exceptions=True,
    )

    assert [type(outcome) for outcome in outcomes] == [type(None), PlcRefused]
    assert await directory.last(first.did) == rivals[0].json


async def test_a_higher_key_undoes_within_72_hours_and_not_a_millisecond_later(tmp_path):
    for lapse, holds in ((72 * HOUR_MS, True), (72 * HOUR_MS + 1, False)):
        clock = Clock()
        directory = PlcDirectory(tmp_path / f"{lapse}.sqlite", clock)
        first = genesis()
        await directory.submit(first.did, first.json)
        clock.now += 1000
        theft = after(first, rotation_keys=[LOW.public.did_key])
        await directory.submit(first.did, theft.json)
        clock.now += lapse
        recovery = after(first, HIGH, also_known_as=["at://mine.test"])

        if holds:
            await directory.submit(first.did, recovery.json)
            assert [entry["nullified"] for entry in await directory.audit(first.did)] == [False, True, False]
            assert await directory.log(first.did) == [first.json, recovery.json]
            assert await directory.last(first.did) == recovery.json
        else:
            assert (await refusal(directory, first.did, recovery)).reason is PlcReason.LATE_RECOVERY
        await directory.close()


async def test_an_equal_or_lower_key_cannot_undo(directory):
    first = genesis()
    await directory.submit(first.did, first.json)
    await directory.submit(first.did, after(first, HIGH).json)

    for key in (HIGH, LOW):
        rival = after(first, key, also_known_as=["at://rival.test"])
        assert (await refusal(directory, first.did, rival)).reason is PlcReason.SIGNATURE


async def test_after_a_tombstone_nothing_follows_and_nothing_resolves(directory):
    first = genesis()
    await directory.submit(first.did, first.json)
    end = plc_op.parse(plc_op.sign(plc_op.tombstone(str(first.cid)), LOW))
    await directory.submit(first.did, end.json)

    more = plc_op.parse(
        plc_op.sign(plc_op.account(SIGNING.public.did_key, "a.test", "https://p", KEYS, str(end.cid)), LOW)
    )
    assert (await refusal(directory, first.did, more)).reason is PlcReason.ORDER
    with pytest.raises(IdentityRefused) as refused:
        await directory.document(first.did)
    assert refused.value.reason is IdentityReason.TOMBSTONED


async def test_a_higher_key_may_undo_a_tombstone(directory):
    first = genesis()
    await directory.submit(first.did, first.json)
    end = plc_op.parse(plc_op.sign(plc_op.tombstone(str(first.cid)), LOW))
    await directory.submit(first.did, end.json)

    await directory.submit(first.did, after(first, HIGH, also_known_as=["at://back.test"]).json)

    assert (await directory.document(first.did))["alsoKnownAs"] == ["at://back.test"]


async def test_the_eleventh_operation_within_an_hour_is_refused_and_a_recovery_is_not(directory):
    last = first = genesis()
    await directory.submit(first.did, first.json)
    for number in range(9):
        last = after(last, also_known_as=[f"at://a{number}.test"])
        await directory.submit(first.did, last.json)

    refused = await refusal(directory, first.did, after(last))
    assert (refused.reason, refused.detail) == (PlcReason.RATE, "To many operations within last hour (max 10)")

    await directory.submit(first.did, after(first, HIGH).json)
    assert len(await directory.log(first.did)) == 2


@pytest.mark.parametrize(("limit", "spacing"), [(10, 1), (30, HOUR_MS // 5), (100, HOUR_MS)])
def test_rates_hold_at_the_limit_and_refuse_one_past_it(limit, spacing):
    now = 10**12
    check_rate([now - spacing * number for number in range(limit - 1)], now)

    with pytest.raises(PlcRefused) as refused:
        check_rate([now - spacing * number for number in range(limit)], now)
    assert f"(max {limit})" in refused.value.detail


def _service(kind="T", endpoint="https://s"):
    return {"type": kind, "endpoint": endpoint}


LIMITS = [
    ("also_known_as", lambda n: [f"at://a{i}.test" for i in range(n)], 10),
    ("also_known_as", lambda n: ["at://" + "a" * (n - 5)], 258),
    ("rotation_keys", lambda n: [KEYS[1]] * n, 10),
    ("services", lambda n: {f"s{i}": _service() for i in range(n)}, 10),
    ("services", lambda n: {"i" * n: _service()}, 32),
    ("services", lambda n: {"a": _service(kind="t" * n)}, 96),
    ("services", lambda n: {"a": _service(endpoint="e" * n)}, 256),
    ("verification_methods", lambda n: {f"m{i}": KEYS[1] for i in range(n)}, 10),
    ("verification_methods", lambda n: {"i" * n: KEYS[1]}, 32),
    ("verification_methods", lambda n: {"a": "did:key:z" + "2" * (n - 9)}, 256),
]


@pytest.mark.parametrize(("field", "make", "limit"), LIMITS)
def test_each_limit_holds_and_one_past_it_is_refused(field, make, limit):
    check(after(genesis(), **{field: make(limit)}))

    with pytest.raises(PlcRefused) as refused:
        check(after(genesis(), **{field: make(limit + 1)}))
    assert refused.value.reason in (PlcReason.LIMIT, PlcReason.KEY)


def test_an_operation_of_4000_bytes_is_taken_and_one_of_4001_is_not():
    empty = len(after(genesis(), services={"a": _service(endpoint="")}).signed)
    for size, holds in ((4000, True), (4001, False)):
        # A text of 256 bytes or more has a head of three bytes where the empty one has one.
        op = after(genesis(), services={"a": _service(endpoint="x" * (size - empty - 2))})
        assert len(op.signed) == size
        with pytest.raises(PlcRefused) as refused:
            check(op)
        assert ("too large" in refused.value.detail) is not holds


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"type": "plc_other"},
        {"type": ["plc_operation"]},
        {"rotationKeys": "did:key:z"},
        {"rotationKeys": [1]},
        {"alsoKnownAs": None},
        {"services": {"a": {"type": "x"}}},
        {"services": {"a": {"type": "x", "endpoint": "y", "more": "z"}}},
        {"services": []},
        {"verificationMethods": {"a": 1}},
        {"prev": 1},
        {"sig": None},
        {"sig": 1.5},
    ],
)
def test_a_misshapen_operation_is_refused_before_it_is_hashed(change):
    with pytest.raises(PlcRefused) as refused:
        plc_op.parse(genesis().json | change)

    assert refused.value.reason is PlcReason.SHAPE


@pytest.mark.parametrize("value", [None, [], "op", 1, {}])
def test_what_is_no_operation_at_all_is_refused(value):
    with pytest.raises(PlcRefused):
        plc_op.parse(value)


def test_the_legacy_create_is_read_but_no_longer_taken():
    legacy = {
        "type": "create",
        "signingKey": SIGNING.public.did_key,
        "recoveryKey": HIGH.public.did_key,
        "handle": "a.test",
        "service": "https://p",
        "prev": None,
    }
    op = plc_op.parse(plc_op.sign(legacy, SIGNING))

    assert op.signer(op.rotation_keys) == 1
    with pytest.raises(PlcRefused):
        check(op)


def test_a_rotation_key_of_an_unknown_type_is_refused():
    foreign = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"

    check(after(genesis(), verification_methods={"other": foreign}))
    with pytest.raises(PlcRefused) as refused:
        check(after(genesis(), rotation_keys=[foreign]))
    assert refused.value.reason is PlcReason.KEY


def test_an_operation_as_old_as_the_one_before_it_is_refused():
    first = genesis()
    entry = plc.LogEntry(first.did, first, first.cid, nullified=False, created=1000)

    assert plc.accept(first.did, [entry], after(first), 1001) == []
    with pytest.raises(PlcRefused) as refused:
        plc.accept(first.did, [entry], after(first), 1000)
    assert refused.value.reason is PlcReason.ORDER


def test_a_signature_has_one_spelling():
    op = genesis()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spelling = op.json["sig"]
    last = letters.index(spelling[-1])
    twins = [spelling[:-1] + letters[last + spare] for spare in range(1, 16)]

    assert last % 16 == 0
    assert op.signer(KEYS) == 1
    for twin in [*twins, spelling + "==", spelling + "\n", spelling[:-1], "+" + spelling[1:]]:
        with pytest.raises(PlcRefused) as refused:
            plc_op.parse(op.json | {"sig": twin}).signer(KEYS)
        assert refused.value.reason is PlcReason.SIGNATURE


async def test_export_pages_neither_skip_nor_repeat_though_the_clock_stands_still(directory):
    ops = [genesis(alsoKnownAs=[f"at://a{number}.test"]) for number in range(25)]
    for op in ops:
        await directory.submit(op.did, op.json)

    by_time, after_time, by_seq, after_seq = [], 0, [], 0
    while page := await directory.export(4, after_time):
        by_time += page
        after_time = plc.millis(page[-1]["createdAt"])
    while page := await directory.export_after_seq(4, after_seq):
        by_seq += page
        after_seq = page[-1]["seq"]

    assert [item["did"] for item in by_time] == [item["did"] for item in by_seq] == [op.did for op in ops]
    assert {item["type"] for item in by_seq} == {"sequenced_op"}
