"""The checklist: what an honest account sends passes, and each lie is refused by its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.repo import verify
from ingest.repo.car import car_bytes
from ingest.repo.commit import UnsignedCommit, decode_commit
from ingest.repo.frame import decode_frame, sync_frame
from ingest.repo.keys import PrivateKey
from ingest.repo.messages import CommitMessage, SyncMessage
from ingest.repo.mst import EMPTY_ROOT, Tree
from ingest.repo.mst_node import EMPTY
from ingest.repo.mst_proof import path_proof
from ingest.repo.reasons import RepoReason
from ingest.repo.repo_car import open_record_proof, open_repo_car, verify_record_proof
from ingest.repo.verify import Previous, check_path, is_authoritative, verify_commit, verify_sync
from schemas import limits
from schemas.cid import Cid
from schemas.entries import Op, cbor_uint
from schemas.entry_codec import decode, encode
from schemas.errors import Refused
from schemas.syntax import Did, Nsid, RecordKey
from schemas.tid import Tid, tid_from_micros
from tests.support.invalid_blocks import INVALID_BLOCKS
from tests.unit.repo.world import NOW, POST, Account, Made, path, record

pytestmark = pytest.mark.usefixtures("each_core")

LATER = NOW + 60_000_000
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def settled() -> tuple[Account, Previous]:
    """An account of 200 records, and where it stands."""
    account = Account()
    account.commit({path(n): record(f"post {n}") for n in range(200)})
    assert account.rev is not None
    assert account.data is not None
    return account, Previous(account.rev, account.data)


def refusal(made: Made | CommitMessage, previous: Previous | None, *, now: int = LATER, lenient: bool = False) -> str:
    message = made.message() if isinstance(made, Made) else made
    with pytest.raises(Refused) as caught:
        verify_commit(message, Account().key.public, previous, now, lenient=lenient)
    return caught.value.reason


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_every_commit_of_an_honest_account_is_verified_and_inverts(seed):
    rng = random.Random(seed)
    account = Account()
    previous = None
    for _ in range(6):
        writes: dict[str, bytes | None] = {}
        for _ in range(rng.choice((0, 1, 1, 3, 20))):
            key = path(rng.randrange(40))
            writes[key] = None if key in account.records and rng.random() < 0.5 else record(str(rng.random()))
        made = account.commit(writes)

        found = verify_commit(made.message(), account.key.public, previous, LATER)

        assert found.inverted
        assert found.continuous
        assert found.entry.data == account.data
        assert [(op.path, op.record) for op in found.entry.ops] == list(writes.items())
        assert found.entry.head + cbor_uint(9) + found.entry.tail == made.frame(9)
        assert found.signed == made.signed
        previous = Previous(found.entry.rev, found.entry.data)
    assert (
        open_repo_car(
            car_bytes(made.signed.cid, account.blocks | account.tree.write()[1] | nodes(account) | block(made))
        ).tree.write()[0]
        == account.data
    )


def nodes(account: Account) -> dict[bytes, bytes]:
    tree = Tree.empty()
    for key, cid in account.records.items():
        tree.put(key, cid)
    return {EMPTY_ROOT: EMPTY} | tree.write()[1]


def block(made: Made) -> dict[bytes, bytes]:
    return {made.signed.cid.raw: made.signed.block}


def bend_ops(bend: Callable[[list[Op]], list[Op]]) -> str:
    account, previous = settled()
    made = account.commit({path(5): None, path(6): record("changed"), path(500): record("new"), path(501): record("x")})
    verify_commit(made.message(), account.key.public, previous, LATER)
    made.ops = bend(made.ops)
    return refusal(made, previous)


OTHER = Cid.of_cbor(b"other")
OP_LIES = {
    "an omitted delete": (lambda ops: ops[1:], RepoReason.INVERSION),
    "an omitted create": (lambda ops: ops[:3], RepoReason.INVERSION),
    "an update that is omitted": (lambda ops: [ops[0], *ops[2:]], RepoReason.INVERSION),
    "an extra delete": (lambda ops: [*ops, Op("delete", path(900), None, OTHER)], RepoReason.INVERSION),
    "an extra create": (lambda ops: [*ops, msgspec.structs.replace(ops[2], path=path(9))], RepoReason.MISSING_BLOCK),
    "a wrong prev": (
        lambda ops: [msgspec.structs.replace(ops[0], prev=OTHER), *ops[1:]],
        RepoReason.INVERSION,
    ),
    "a wrong prev of an update": (
        lambda ops: [ops[0], msgspec.structs.replace(ops[1], prev=OTHER), *ops[2:]],
        RepoReason.INVERSION,
    ),
    "no prev of a delete": (lambda ops: [msgspec.structs.replace(ops[0], prev=None), *ops[1:]], RepoReason.OP_FIELDS),
    "a cid without its block": (
        lambda ops: [*ops[:3], msgspec.structs.replace(ops[3], cid=OTHER)],
        RepoReason.RECORD_MISSING,
    ),
    "the cid of another record": (
        lambda ops: [*ops[:3], msgspec.structs.replace(ops[3], cid=ops[2].cid)],
        RepoReason.INVERSION,
    ),
    "a create that was an update": (
        lambda ops: [ops[0], Op("create", ops[1].path, ops[1].cid), *ops[2:]],
        RepoReason.INVERSION,
    ),
    "a create with a prev": (
        lambda ops: [*ops[:3], msgspec.structs.replace(ops[3], prev=OTHER)],
        RepoReason.OP_FIELDS,
    ),
    "a create without a cid": (lambda ops: [*ops[:3], Op("create", ops[3].path)], RepoReason.OP_FIELDS),
    "a delete with a cid": (
        lambda ops: [msgspec.structs.replace(ops[0], cid=ops[2].cid), *ops[1:]],
        RepoReason.OP_FIELDS,
    ),
    "a path twice": (lambda ops: [*ops, ops[3]], RepoReason.OP_FIELDS),
    "a path without a collection": (
        lambda ops: [*ops[:3], msgspec.structs.replace(ops[3], path="nothing")],
        RepoReason.OP_PATH,
    ),
    "a path of no NSID": (
        lambda ops: [*ops[:3], msgspec.structs.replace(ops[3], path="post/1")],
        RepoReason.OP_PATH,
    ),
    "a path with a bad key": (
        lambda ops: [*ops[:3], msgspec.structs.replace(ops[3], path=f"{POST}/..")],
        RepoReason.OP_PATH,
    ),
}


@pytest.mark.parametrize("name", OP_LIES)
def test_operations_that_are_not_what_the_tree_says_are_refused(name):
    bend, reason = OP_LIES[name]

    assert bend_ops(bend) == reason


def test_a_wrong_prev_data_is_refused():
    account, previous = settled()
    made = account.commit({path(500): record("new")})

    assert refusal(replace(made, prev_data=OTHER), previous) == RepoReason.INVERSION


def test_a_break_in_the_chain_passes_but_is_not_continuous():
    account, previous = settled()
    account.commit({path(500): record("missed")})
    message = account.commit({path(501): record("seen")}).message()

    found = verify_commit(message, account.key.public, previous, LATER)

    assert found.inverted
    assert not found.continuous


def test_revs_must_rise_and_not_lead_the_clock():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    rev = made.signed.rev
    beyond = rev.micros - limits.FUTURE_REV_MICROS

    assert refusal(made, Previous(rev, previous.data)) == RepoReason.REV_STALE
    assert refusal(made, Previous(tid_from_micros(rev.micros + 1, 0), previous.data)) == RepoReason.REV_STALE
    assert refusal(made, previous, now=rev.micros - 360_000_000) == RepoReason.REV_FUTURE
    assert refusal(made, previous, now=beyond - 1) == RepoReason.REV_FUTURE
    verify_commit(made.message(), account.key.public, previous, beyond)


def test_a_signature_must_be_of_the_key_and_low():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    sig = made.signed.sig
    high = sig[:32] + (CURVE_ORDER - int.from_bytes(sig[32:], "big")).to_bytes(32, "big")
    for wrong in (high, bytes(64), sig[:-1] + bytes((sig[-1] ^ 1,))):
        block = made.signed.block.replace(sig, wrong)
        bent = replace(made, signed=decode_commit(block))
        assert refusal(bent, previous) == RepoReason.SIGNATURE
    stranger = PrivateKey.from_bytes("p256", b"\x09" * 32)
    signed = UnsignedCommit(account.did, made.signed.rev, made.signed.data).sign(stranger)

    assert refusal(replace(made, signed=signed), previous) == RepoReason.SIGNATURE
    assert verify_commit(replace(made, signed=signed).message(), stranger.public, previous, LATER).inverted


def test_a_message_must_say_what_its_commit_says():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    message = made.message()
    bent = {
        "did": Did("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"),
        "rev": tid_from_micros(made.signed.rev.micros + 1, 0),
        "commit": OTHER,
    }
    for name, value in bent.items():
        assert refusal(msgspec.structs.replace(message, **{name: value}), previous) == RepoReason.FIELD_MISMATCH


def test_flags_of_older_days_are_refused():
    account, previous = settled()
    message = account.commit({path(500): record("new")}).message()

    assert refusal(msgspec.structs.replace(message, too_big=True), previous) == RepoReason.TOO_BIG
    assert refusal(msgspec.structs.replace(message, rebase=True), previous) == RepoReason.REBASE


def test_operations_are_bounded():
    account = Account()
    most = account.commit({path(n): record("x") for n in range(limits.COMMIT_OPS_MAX)})
    assert verify_commit(most.message(), account.key.public, None, LATER).inverted

    over = Account().commit({path(n): record("x") for n in range(limits.COMMIT_OPS_MAX + 1)})

    assert refusal(over, None) == RepoReason.OPS_COUNT


def test_blocks_are_bounded():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    size = len(made.message().blocks)
    for over, reason in ((0, None), (1, RepoReason.BLOCKS_SIZE)):
        filler = bytes(limits.COMMIT_BLOCKS_MAX - size - 36 - 3 + over)
        made.blocks = {Cid.of_cbor(filler).raw: filler} | made.blocks
        assert len(made.message().blocks) == limits.COMMIT_BLOCKS_MAX + over
        if reason is None:
            assert verify_commit(made.message(), account.key.public, previous, LATER).inverted
        else:
            assert refusal(made, previous) == reason
        made.blocks.pop(Cid.of_cbor(filler).raw)


@pytest.mark.parametrize("block", INVALID_BLOCKS.values(), ids=INVALID_BLOCKS)
def test_verified_is_not_valid_a_record_may_be_any_bytes(block):
    account, previous = settled()
    made = account.commit({path(500): block, path(5): block, path(6): None, path(501): record("beside it")})

    found = verify_commit(made.message(), account.key.public, previous, LATER)

    assert found.inverted
    assert found.continuous
    assert [op.record for op in found.entry.ops] == [block, block, None, record("beside it")]
    assert decode(encode(found.entry)) == found.entry
    after = account.commit({path(500): None, path(5): record("mended")})
    then = Previous(found.entry.rev, found.entry.data)
    assert verify_commit(after.message(), account.key.public, then, LATER).continuous


def test_a_record_whose_bytes_are_not_those_of_its_cid_is_refused():
    account, previous = settled()
    made = account.commit({path(500): b"\x80"})
    cid = Cid.of_cbor(b"\x80").raw
    made.blocks[cid] = b"\x81\x01"

    assert refusal(made, previous) == RepoReason.CAR_HASH


def test_without_prev_data_only_unknown_repos_and_lenient_relays_go_on():
    account, previous = settled()
    made = replace(account.commit({path(500): record("new"), path(5): None}), prev_data=None)

    assert refusal(made, previous) == RepoReason.PREV_DATA_MISSING
    for known, lenient in ((None, False), (None, True), (previous, True)):
        found = verify_commit(made.message(), account.key.public, known, LATER, lenient=lenient)
        assert not found.inverted
        assert found.continuous
    false = replace(made, ops=[made.ops[0], Op("delete", path(6))])
    assert refusal(false, previous, lenient=True) == RepoReason.OP_MISMATCH


def test_a_first_commit_leads_back_to_the_empty_tree():
    made = Account().commit({path(1): record("first"), path(2): record("second")})

    assert verify_commit(made.message(), Account().key.public, None, LATER).inverted
    assert refusal(replace(made, ops=made.ops[:1]), None) == RepoReason.INVERSION


def test_without_one_needed_block_a_commit_is_refused():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    reasons = {
        refusal(replace(made, blocks={key: value for key, value in made.blocks.items() if key != cid}), previous)
        for cid in made.blocks
    }

    assert reasons == {RepoReason.MISSING_BLOCK, RepoReason.RECORD_MISSING}
    empty = msgspec.structs.replace(made.message(), blocks=b"")
    assert refusal(empty, previous) == RepoReason.CAR_TRUNCATED


def test_no_flipped_bit_of_a_frame_goes_unnoticed():
    """What a frame says outside its signed commit and blocks (time, seq, since, blobs) nobody has signed."""
    account, previous = settled()
    made = account.commit({path(500): record("new"), path(6): None})
    good, honest = made.frame(), made.message()
    unsigned = ("seq", "time", "since", "head", "tail")
    bare = dict.fromkeys(unsigned) | {"seq": 0, "time": "", "head": b"", "tail": b""}
    rng = random.Random(3)
    noticed = harmless = 0
    for _ in range(4_000):
        data = bytearray(good)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            message = decode_frame(bytes(data))
            if not isinstance(message, CommitMessage):
                continue
            verify_commit(message, account.key.public, previous, LATER)
        except Refused:
            noticed += 1
            continue
        assert msgspec.structs.replace(message, **bare) == msgspec.structs.replace(honest, **bare)
        harmless += 1

    assert noticed > 3_000
    assert harmless > 0


def sync_message(account: Account, made: Made, **changes: object) -> SyncMessage:
    fields = {
        "did": account.did,
        "rev": made.signed.rev,
        "blocks": car_bytes(made.signed.cid, {made.signed.cid.raw: made.signed.block}),
        "time": "2026-01-01T00:00:00Z",
        **changes,
    }
    head, tail = sync_frame(**fields)
    message = decode_frame(head + b"\x01" + tail)
    assert isinstance(message, SyncMessage)
    return message


def test_a_sync_says_where_a_repo_stands():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    entry = verify_sync(sync_message(account, made), account.key.public, previous, LATER)

    assert (entry.did, entry.rev, entry.data, entry.commit) == (
        account.did,
        account.rev,
        account.data,
        made.signed.cid,
    )
    here = Previous(entry.rev, entry.data)
    assert verify_sync(sync_message(account, made), account.key.public, here, LATER) == entry


def test_a_false_sync_is_refused():
    account, previous = settled()
    made = account.commit({path(500): record("new")})
    good = car_bytes(made.signed.cid, {made.signed.cid.raw: made.signed.block})
    rev = made.signed.rev
    filler = bytes(limits.SYNC_BLOCKS_MAX - len(good) - 36 - 2)
    exact = car_bytes(made.signed.cid, {made.signed.cid.raw: made.signed.block, Cid.of_cbor(filler).raw: filler})
    assert len(exact) == limits.SYNC_BLOCKS_MAX
    verify_sync(sync_message(account, made, blocks=exact), account.key.public, previous, LATER)
    cases = [
        ({"blocks": exact + b"\x00"}, previous, RepoReason.BLOCKS_SIZE),
        ({"blocks": car_bytes(made.signed.cid, {})}, previous, RepoReason.CAR_ROOT),
        ({"did": "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"}, previous, RepoReason.FIELD_MISMATCH),
        ({"rev": previous.rev}, previous, RepoReason.FIELD_MISMATCH),
        ({}, Previous(rev, OTHER), RepoReason.REV_STALE),
        ({}, Previous(tid_from_micros(rev.micros + 1, 0), made.signed.data), RepoReason.REV_STALE),
    ]
    for changes, known, reason in cases:
        with pytest.raises(Refused) as caught:
            verify_sync(sync_message(account, made, **changes), account.key.public, known, LATER)
        assert caught.value.reason == reason
    with pytest.raises(Refused) as caught:
        verify_sync(sync_message(account, made), PrivateKey.generate().public, previous, LATER)
    assert caught.value.reason == RepoReason.SIGNATURE


@pytest.mark.parametrize(
    ("host", "endpoint", "holds"),
    [
        ("pds.example.com", "https://pds.example.com", True),
        ("PDS.example.com", "https://pds.example.com/", True),
        ("pds.example.com:443", "https://pds.example.com", True),
        ("pds.example.com", "https://pds.example.com:443", True),
        ("localhost:2583", "http://localhost:2583", True),
        ("pds.example.com", "https://other.example.com", False),
        ("pds.example.com", "https://pds.example.com.evil.com", False),
        ("pds.example.com", "https://pds.example.com@evil.com", False),
        ("localhost", "http://localhost:2583", False),
        ("localhost:2584", "http://localhost:2583", False),
        ("", "not a url", False),
        ("x", "https://x:port", False),
        ("pds.example.com", None, False),
    ],
)
def test_only_the_host_that_the_did_document_names_speaks_for_an_account(host, endpoint, holds):
    assert is_authoritative(host, endpoint) is holds


@settings(deadline=None)
@given(st.text(alphabet="ab.-/_~:1A ü", max_size=12))
def test_a_path_is_a_collection_and_a_record_key(text):
    collection, slash, rkey = text.partition("/")
    valid = bool(slash) and Nsid.is_valid(collection) and RecordKey.is_valid(rkey)
    if valid:
        check_path(text)
        return
    with pytest.raises(Refused) as caught:
        check_path(text)
    assert caught.value.reason == RepoReason.OP_PATH


def test_a_record_proof_shows_a_record_or_its_absence():
    account, _ = settled()
    made = account.commit({path(500): record("new")})
    rkey = path(7).partition("/")[2]
    blocks = {made.signed.cid.raw: made.signed.block} | path_proof(account.tree, path(7))
    cid = account.records[path(7)]
    blocks[cid.raw] = account.blocks[cid.raw]
    data = car_bytes(made.signed.cid, blocks)
    key = account.key.public

    found = verify_record_proof(data, account.did, key, POST, rkey)
    assert (found.cid, found.record) == (cid, record("post 7"))
    absent = car_bytes(
        made.signed.cid, {made.signed.cid.raw: made.signed.block} | path_proof(account.tree, f"{POST}/zzz")
    )
    assert open_record_proof(absent, POST, "zzz")[1:] == (None, None)
    wrong = [
        (data, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", key, rkey, RepoReason.FIELD_MISMATCH),
        (data, account.did, PrivateKey.generate().public, rkey, RepoReason.SIGNATURE),
        (data, account.did, key, path(150).partition("/")[2], RepoReason.MISSING_BLOCK),
        (car_bytes(made.signed.cid, dict(list(blocks.items())[:-1])), account.did, key, rkey, RepoReason.MISSING_BLOCK),
    ]
    for bent, did, signer, name, reason in wrong:
        with pytest.raises(Refused) as caught:
            verify_record_proof(bent, did, signer, POST, name)
        assert caught.value.reason == reason


def test_a_whole_repo_has_every_block_and_may_have_more():
    account, _ = settled()
    made = account.commit({path(500): record("new")})
    blocks = {made.signed.cid.raw: made.signed.block} | nodes(account)
    blocks |= {cid.raw: account.blocks[cid.raw] for cid in account.records.values()}
    extra = b"\xa1aa\x01"

    found = open_repo_car(car_bytes(made.signed.cid, blocks | {Cid.of_cbor(extra).raw: extra}))

    assert dict(found.tree.items()) == account.records
    assert found.signed.is_signed_by(account.key.public)
    needed = [cid for cid in blocks if cid not in {made.signed.cid.raw, EMPTY_ROOT}]
    for cid in random.Random(1).sample(needed, 40):
        short = {other: block for other, block in blocks.items() if other != cid}
        with pytest.raises(Refused) as caught:
            open_repo_car(car_bytes(made.signed.cid, short))
        assert caught.value.reason == RepoReason.MISSING_BLOCK


def test_a_whole_repo_may_hold_any_bytes_under_a_good_path():
    for block in INVALID_BLOCKS.values():
        account = Account()
        made = account.commit({path(1): block})
        car = car_bytes(made.signed.cid, {made.signed.cid.raw: made.signed.block} | made.blocks)
        assert open_repo_car(car).blocks[Cid.of_cbor(block).raw] == block
        assert open_record_proof(car, *path(1).split("/")).record == block


def test_a_whole_repo_with_a_bad_path_is_refused():
    made = Account().commit({"notansid/1": record("x")})

    with pytest.raises(Refused) as caught:
        open_repo_car(car_bytes(made.signed.cid, {made.signed.cid.raw: made.signed.block} | made.blocks))

    assert caught.value.reason == RepoReason.OP_PATH


def test_a_spliced_inversion_is_what_verification_uses(monkeypatch):
    """The twin by the tree gives the same verdict on the same commits."""
    account, previous = settled()
    messages = [account.commit({path(500 + n): record("new")}).message() for n in range(20)]
    fast = [verify_commit(message, account.key.public, None, LATER) for message in messages]
    from ingest.repo.invert import invert_by_tree

    monkeypatch.setattr(verify, "invert", invert_by_tree)

    assert [verify_commit(message, account.key.public, None, LATER) for message in messages] == fast
    assert messages[0].prev_data == previous.data
    assert Tid.is_valid(messages[0].rev)
