"""The 80 real relay frames: byte for byte through the codec, and every commit verified and inverted."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest

from ingest.repo.car import read_car, require_root
from ingest.repo.commit import decode_commit
from ingest.repo.frame import _decode_plain_commit, commit_frame, decode_by_the_book, decode_frame, split_frame
from ingest.repo.invert import invert, invert_by_tree
from ingest.repo.messages import CommitMessage
from ingest.repo.mst import Tree
from ingest.repo.mst_node import decode_by_the_book as node_by_the_book
from ingest.repo.mst_node import put_together, take_apart
from ingest.repo.verify import Previous, verify_commit
from schemas.cid import Cid
from schemas.entries import cbor_uint
from schemas.errors import Refused
from tests.interop.firehose_vectors import NOW, real_frames, real_keys

pytestmark = pytest.mark.usefixtures("each_core")


@pytest.fixture(scope="module")
def frames(vectors):
    return real_frames(vectors)


@pytest.fixture(scope="module")
def keys(vectors):
    return real_keys(vectors)


def messages(frames: list[bytes]) -> list[CommitMessage]:
    found = [decode_frame(frame) for frame in frames]
    assert all(isinstance(message, CommitMessage) for message in found)
    return found


def test_real_frames_go_both_ways_byte_for_byte(frames):
    assert len(frames) == 80
    for frame in frames:
        message = decode_frame(frame)
        assert isinstance(message, CommitMessage)
        assert _decode_plain_commit(frame) == decode_by_the_book(frame) == message
        head, seq, tail = split_frame(frame)
        assert head + cbor_uint(seq) + tail == frame
        again = {name: getattr(message, name) for name in ("did", "rev", "since", "commit", "prev_data", "ops")}
        assert commit_frame(**again, blocks=message.blocks, time=message.time) == (head, tail)
        renumbered = decode_frame(head + cbor_uint(5) + tail)
        assert renumbered == msgspec.structs.replace(message, seq=5)


def test_every_block_signature_and_inversion_holds(frames, keys):
    actions: Counter[str] = Counter()
    for message in messages(frames):
        found = verify_commit(message, keys[message.did], None, NOW)

        assert found.inverted
        entry = found.entry
        assert (entry.did, entry.rev, entry.commit) == (message.did, message.rev, message.commit)
        assert entry.prev_data == message.prev_data
        for op in entry.ops:
            actions[op.action] += 1
            assert (op.record is None) == (op.action == "delete")
            assert op.record is None or Cid.of_cbor(op.record) == op.cid

    assert sum(actions.values()) == 82
    assert actions.keys() == {"create", "update", "delete"}


def test_both_ways_of_inverting_agree_on_real_commits(frames):
    for message in messages(frames):
        roots, blocks = read_car(message.blocks)
        data = decode_commit(blocks[require_root(roots, blocks).raw]).data
        changes = [(op.path, op.cid and op.cid.raw, op.prev and op.prev.raw) for op in reversed(message.ops)]
        for way in (invert, invert_by_tree):
            assert Cid(way(data.raw, blocks.__getitem__, changes)) == message.prev_data


def test_real_nodes_are_read_alike_by_both_readers(frames):
    count = 0
    for message in messages(frames):
        roots, blocks = read_car(message.blocks)
        tree = Tree.open(decode_commit(blocks[roots[0].raw]).data, blocks.__getitem__)
        stack = [tree.root()]
        while stack:
            node = stack.pop()
            parts = take_apart(node.data, node.height)
            assert parts is not None
            fast = put_together(parts, node.data, node.cid)
            slow = node_by_the_book(node.data, node.cid, node.height)
            assert (fast.height, fast.keys, fast.vals, fast.kids) == (slow.height, slow.keys, slow.vals, slow.kids)
            count += 1
            for i, kid in enumerate(node.kids):
                if isinstance(kid, bytes) and kid in blocks:
                    stack.append(tree.kid(node, i))

    assert count > 600


def test_a_flipped_bit_changes_nothing_that_is_accepted(frames, keys):
    """Two thousand flips over all frames: what passes says the same of the repo."""
    rng = random.Random(11)
    unsigned = {"seq": 0, "time": "", "since": None, "head": b"", "tail": b""}
    outcomes: Counter[str] = Counter()
    for _ in range(2_000):
        frame = rng.choice(frames)
        data = bytearray(frame)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        honest = decode_frame(frame)
        try:
            message = decode_frame(bytes(data))
            if not isinstance(message, CommitMessage):
                continue
            verify_commit(message, keys[honest.did], Previous(honest.since, honest.prev_data), NOW)
        except Refused as error:
            outcomes[error.reason] += 1
            continue
        assert msgspec.structs.replace(message, **unsigned) == msgspec.structs.replace(honest, **unsigned)
        outcomes["passed"] += 1

    assert outcomes["car_hash"] > 1_000
    assert outcomes["passed"] < 100


def test_a_message_that_comes_again_is_stale(frames, keys):
    message = messages(frames)[0]
    entry = verify_commit(message, keys[message.did], None, NOW).entry

    with pytest.raises(Refused, match="rev_stale"):
        verify_commit(message, keys[message.did], Previous(entry.rev, entry.data), NOW)


def test_another_accounts_key_does_not_verify(frames, keys):
    message = messages(frames)[0]
    other = next(key for did, key in keys.items() if did != message.did)

    with pytest.raises(Refused, match="signature"):
        verify_commit(message, other, None, NOW)
