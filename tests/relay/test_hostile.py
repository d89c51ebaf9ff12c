"""Signed lies and broken bytes from a host that an account trusts: each refused by its name, none in the log.

The first part says one lie through a real stream; the second puts many thousand mutated frames through the decoder and
the verifier alone. Random numbers come from a seed, which a failure names.
"""

from __future__ import annotations

import os
import random
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from ingest.repo.car import car_bytes, read_car
from ingest.repo.commit import UnsignedCommit, decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.frame_parts import commit_frame
from ingest.repo.messages import CommitMessage
from ingest.repo.mst import Tree
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Previous, Verified, verify_commit
from schemas import cbor
from schemas.cid import Cid
from schemas.entries import Commit, Op, cbor_uint
from schemas.errors import Refused
from schemas.limits import COMMIT_OPS_MAX, FRAME_MAX, MST_NODE_ENTRIES_MAX
from schemas.tid import tid_from_micros
from tests.relay.world.host import MOMENT, POST, Host, Member, frame_of, post
from tests.relay.world.people import People
from tests.relay.world.relay import NOW, World, until

SEED = int(os.environ.get("HEADRACE_CHAOS_SEED", "20261121"))
MUTATIONS = 12_000

Lie = Callable[[Member], Commit]


def rebuilt(member: Member, **changes) -> Commit:
    """An honest commit, said again with other words: `ops`, `blocks` (a function), `rev`, `signed`, `prev_data`."""
    base, rev = member.data, member.rev
    honest = member.write()
    blocks = read_car(decode_frame(frame_of(1, honest)).blocks)[1]  # type: ignore[union-attr]
    root = changes.pop("signed", member.signed)
    change = changes.pop("blocks", None)
    if root is not member.signed:
        blocks[root.cid.raw] = root.block
    if change is not None:
        change(blocks, honest)
    fields = {
        "did": member.did,
        "rev": root.rev,
        "since": rev,
        "commit": root.cid,
        "prev_data": base,
        "ops": honest.ops,
        "time": MOMENT,
    } | changes
    head, tail = commit_frame(**fields, blocks=car_bytes(root.cid, blocks))
    return msgspec.structs.replace(honest, head=head, tail=tail)


def signed_at(member: Member, micros: int):
    """The newest tree, signed at another time."""
    return UnsignedCommit(member.did, tid_from_micros(micros, 7), member.data).sign(member.key)  # type: ignore[arg-type]


def with_ops(change: Callable[[tuple[Op, ...]], tuple[Op, ...]]) -> Lie:
    def lie(member: Member) -> Commit:
        base, rev = member.data, member.rev
        honest = member.write(2)
        blocks = read_car(decode_frame(frame_of(1, honest)).blocks)[1]  # type: ignore[union-attr]
        head, tail = commit_frame(
            did=member.did,
            rev=honest.rev,
            since=rev,
            commit=honest.commit,
            prev_data=base,
            ops=change(honest.ops),
            blocks=car_bytes(honest.commit, blocks),
            time=MOMENT,
        )
        return msgspec.structs.replace(honest, head=head, tail=tail)

    return lie


def omitted_delete(member: Member) -> Commit:
    gone = min(member.records)
    base, rev = member.data, member.rev
    honest = member.commit((gone, None), (f"{POST}/zzz", post("new")))
    blocks = read_car(decode_frame(frame_of(1, honest)).blocks)[1]  # type: ignore[union-attr]
    head, tail = commit_frame(
        did=member.did,
        rev=honest.rev,
        since=rev,
        commit=honest.commit,
        prev_data=base,
        ops=[op for op in honest.ops if op.action != "delete"],
        blocks=car_bytes(honest.commit, blocks),
        time=MOMENT,
    )
    return msgspec.structs.replace(honest, head=head, tail=tail)


def high_s(member: Member) -> Commit:
    member.write()
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    good = signed_at(member, member.clock + 5_000)
    sig = good.sig[:32] + (order - int.from_bytes(good.sig[32:], "big")).to_bytes(32, "big")
    block = good.block.replace(good.sig, sig)
    return rebuilt_with(member, decode_commit(block))


def rebuilt_with(member: Member, root) -> Commit:
    """A commit without operations that names `root`."""
    head, tail = commit_frame(
        did=member.did,
        rev=root.rev,
        since=member.rev,
        commit=root.cid,
        prev_data=member.data,
        ops=(),
        blocks=car_bytes(root.cid, {root.cid.raw: root.block, **member.blocks}),
        time=MOMENT,
    )
    return Commit(member.did, root.rev, member.rev, root.cid, root.data, member.data, (), head, tail)


def with_tree(data: Cid, blocks: dict[bytes, bytes], ops: tuple[Op, ...]) -> Lie:
    """A commit truly signed over a tree that is none."""

    def lie(member: Member) -> Commit:
        root = UnsignedCommit(member.did, tid_from_micros(member.clock + 1_000, 7), data).sign(member.key)
        records = {op.cid.raw: op.record for op in ops if op.cid is not None and op.record is not None}
        head, tail = commit_frame(
            did=member.did,
            rev=root.rev,
            since=member.rev,
            commit=root.cid,
            prev_data=member.data,
            ops=ops,
            blocks=car_bytes(root.cid, {root.cid.raw: root.block, **blocks, **records}),
            time=MOMENT,
        )
        return Commit(member.did, root.rev, member.rev, root.cid, data, member.data, ops, head, tail)

    return lie


RECORD = post("x")
VALUE = Cid.of_cbor(RECORD)
# Two blocks of byte strings, more than a commit may have.
LARGE = {Cid.of_cbor(big).raw: big for big in (b"\x5a\x00\x0f\x42\x40" + bytes((n,)) * 1_000_000 for n in (1, 2))}
OP = (Op("create", f"{POST}/aaa", VALUE, None, RECORD),)


def node(entries: list[tuple[str, int]], left: Cid | None = None) -> tuple[Cid, dict[bytes, bytes]]:
    """A node of whole keys in the order given, whether it may be or not."""
    items = [{"p": 0, "k": key.encode(), "v": VALUE, "t": None} for key, _ in entries]
    block = cbor.encode({"l": left, "e": items})
    return Cid.of_cbor(block), {Cid.of_cbor(block).raw: block}


def leaf_keys(count: int) -> list[tuple[str, int]]:
    """Keys of layer 0, sorted."""
    from hashlib import sha256

    found = [key for n in range(count * 2) if sha256((key := f"{POST}/{n:06d}").encode()).digest()[0] >= 0x40]
    return [(key, 0) for key in found[:count]]


def left_only(child: Cid) -> bytes:
    """A node that holds nothing but what is left of it."""
    return cbor.encode({"l": child, "e": []})


def circle() -> tuple[Cid, dict[bytes, bytes]]:
    """Two nodes that name each other, under names that are not theirs: true ones would need a hash of themselves."""
    first, second = Cid.of_cbor(b"\x01"), Cid.of_cbor(b"\x02")
    return first, {first.raw: left_only(second), second.raw: left_only(first)}


def itself() -> tuple[Cid, dict[bytes, bytes]]:
    """A node that names itself by the identity hash, which needs no luck: not a hash that is taken."""
    block = left_only(VALUE)
    block = block.replace(VALUE.raw, b"\x01\x71\x00\x20" + VALUE.raw[4:])
    return Cid.of_cbor(block), {Cid.of_cbor(block).raw: block}


def folded(layers: int) -> tuple[Cid, dict[bytes, bytes]]:
    """Each node names the one below it twice, so that a walk of all paths would see 2 ** layers leaves."""
    child, blocks = node(leaf_keys(1))
    for layer in range(1, layers + 1):
        entry = {"p": 0, "k": key_of(layer).encode(), "v": VALUE, "t": child}
        block = cbor.encode({"l": child, "e": [entry]})
        child = Cid.of_cbor(block)
        blocks[child.raw] = block
    return child, blocks


def key_of(layer: int) -> str:
    """A key of this layer, above all of `leaf_keys`."""
    from hashlib import sha256

    for n in range(1 << 20):
        digest = int.from_bytes(sha256((key := f"{POST}/z{n:06d}").encode()).digest(), "big")
        if (256 - digest.bit_length()) // 2 == layer:
            return key
    raise AssertionError(f"no key of layer {layer}")


def lies() -> dict[str, tuple[Lie, str]]:
    unsorted_cid, unsorted = node(list(reversed(leaf_keys(5))))
    wide_cid, wide = node(leaf_keys(MST_NODE_ENTRIES_MAX + 1))
    missing_cid, _ = node(leaf_keys(3))
    (circle_cid, circling), (self_cid, selfish), (folded_cid, folding) = circle(), itself(), folded(4)
    return {
        "nodes_in_a_circle": (with_tree(circle_cid, circling, OP), "car_hash"),
        "node_that_names_itself": (with_tree(self_cid, selfish, OP), "node_encoding"),
        "subtree_twice": (with_tree(folded_cid, folding, OP), "inversion"),
        "high_s": (high_s, "signature"),
        "future_rev": (lambda m: rebuilt(m, signed=signed_at(m, NOW + 6 * 60_000_000)), "rev_future"),
        "rev_of_another": (lambda m: rebuilt(m, rev=tid_from_micros(m.clock + 99_000, 7)), "field_mismatch"),
        "omitted_delete": (omitted_delete, "inversion"),
        "omitted_create": (with_ops(lambda ops: ops[:1]), "inversion"),
        "extra_operation": (
            with_ops(lambda ops: (*ops, Op("delete", f"{POST}/nobody", None, ops[0].cid, None))),
            "inversion",
        ),
        "operation_twice": (with_ops(lambda ops: (ops[0], ops[0])), "op_fields"),
        "wrong_cid": (
            with_ops(lambda ops: (msgspec.structs.replace(ops[0], cid=ops[1].cid), ops[1])),
            "inversion",
        ),
        "absent_record": (
            with_ops(lambda ops: (msgspec.structs.replace(ops[0], cid=VALUE), ops[1])),
            "record_missing",
        ),
        "path_without_key": (
            with_ops(lambda ops: (msgspec.structs.replace(ops[0], path=POST), ops[1])),
            "op_path",
        ),
        "missing_node": (
            lambda m: rebuilt(m, blocks=lambda blocks, honest: blocks.pop(honest.data.raw)),
            "missing_block",
        ),
        "changed_record": (
            lambda m: rebuilt(m, blocks=lambda blocks, honest: blocks.__setitem__(honest.ops[0].cid.raw, RECORD)),
            "car_hash",
        ),
        "too_many_operations": (
            with_ops(lambda ops: ops * (COMMIT_OPS_MAX // 2 + 1)),
            "ops_count",
        ),
        "too_many_blocks": (lambda m: rebuilt(m, blocks=lambda blocks, _: blocks.update(LARGE)), "blocks_size"),
        "unsorted_keys": (with_tree(unsorted_cid, unsorted, OP), "node_order"),
        "wide_node": (with_tree(wide_cid, wide, OP), "node_entries"),
        "tree_that_is_not_there": (with_tree(missing_cid, {}, OP), "missing_block"),
        "commit_as_tree": (with_tree(VALUE, {VALUE.raw: RECORD}, OP), "node_encoding"),
    }


@pytest.mark.parametrize("name", sorted(lies()))
async def test_a_signed_lie_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    lie, reason = lies()[name]
    people = People()
    async with Host(people) as host:
        member, other = host.add(1), host.add(2)
        await host.say(member.write(5), other.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            before = await world.entries()
            await host.say(lie(member))
            await host.say(other.write())
            await world.taken(host)

            assert world.dropped == {reason: 1}
            assert (await world.entries())[:-1] == before  # and the stream goes on
            assert len(host.cursors) == 1


async def test_what_was_said_before_is_not_taken_again(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        commits = [member.write() for _ in range(5)]
        await host.say(*commits)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.say(*reversed(commits))
            host.events += [(host.seq, frame_of(2, commits[0]))]  # a number that was
            await host.say(member.write())
            await world.taken(host)

            assert len(await world.entries()) == 6
            assert world.dropped == {"rev_stale": 5, "seq_stale": 1}


async def test_frames_that_are_none_are_counted_and_too_many_end_the_connection(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        rubbish = [b"", b"\x00", b"\xff" * 100, b"\xa1" * 10_000, cbor.encode({"op": 1, "t": "#commit"})]
        await host.say(member.write(), *rubbish, member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            assert sum(world.dropped.values()) == len(rubbish)
            assert set(world.dropped) <= {"frame_encoding", "frame_fields"}

            async def flood(socket: web.WebSocketResponse, _cursor: int | None) -> None:
                host.stream = None
                for _ in range(1_000):
                    await socket.send_bytes(b"\x00")

            host.stream = flood
            await host.cut()
            await until(lambda: world.dropped["host_frames"])
            await host.say(member.write())
            await world.taken(host)

            assert len(await world.entries()) == 3


async def test_a_message_that_is_too_large_ends_the_connection_before_it_is_held(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member = host.add(1)
        await host.say(member.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)

            async def large(socket: web.WebSocketResponse, _cursor: int | None) -> None:
                host.stream = None
                await socket.send_bytes(bytes(FRAME_MAX + 1))

            host.stream = large
            await host.cut()
            await until(lambda: world.dropped["frame_size"])
            await host.say(member.write())
            await world.taken(host)

            assert len(await world.entries()) == 2


def test_a_tree_of_two_thousand_layers_is_refused_without_walking_into_it() -> None:
    """The nearest that bytes come to a circle, which would need a hash of itself."""
    member = Member(1)
    deep, blocks = node(leaf_keys(1))
    for _ in range(2_000):
        block = cbor.encode({"l": deep, "e": []})
        deep = Cid.of_cbor(block)
        blocks[deep.raw] = block
    commit = with_tree(deep, blocks, OP)(member)
    message = decode_frame(frame_of(1, commit))
    assert isinstance(message, CommitMessage)
    with pytest.raises(Refused) as refused:
        verify_commit(message, member.key.public, None, NOW)
    assert isinstance(refused.value.reason, RepoReason)
    with pytest.raises(Refused):
        list(Tree.open(deep, blocks.__getitem__).items())


def test_a_tree_whose_nodes_come_twice_is_refused_before_its_paths_are_walked() -> None:
    root, blocks = folded(8)
    loaded: list[bytes] = []

    def load(cid: bytes) -> bytes:
        loaded.append(cid)
        return blocks[cid]

    with pytest.raises(Refused) as refused:
        list(Tree.open(root, load).items())

    assert refused.value.reason is RepoReason.NODE_ORDER
    assert len(loaded) <= 2 * 9, "each node at most twice"


def mutated(frame: bytes, rng: random.Random) -> bytes:
    """The frame with something broken: bits, bytes, pieces taken out, doubled or exchanged."""
    data = bytearray(frame)
    match rng.randrange(7):
        case 0:
            return bytes(data[: rng.randrange(len(data))])
        case 1:
            for _ in range(rng.randint(1, 8)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            at = rng.randrange(len(data))
            del data[at : at + rng.randint(1, 64)]
        case 3:
            at = rng.randrange(len(data))
            data[at:at] = data[at : at + rng.randint(1, 64)]
        case 4:
            at = rng.randrange(len(data))
            data[at : at + 4] = rng.randbytes(4)
        case 5:
            a, b = sorted(rng.randrange(len(data)) for _ in range(2))
            size = rng.randint(1, 40)
            data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
        case 6:
            data += rng.randbytes(rng.randint(1, 64))
    return bytes(data)


def test_no_mutated_frame_says_anything_that_was_not_signed() -> None:
    """What still verifies says the same commit of the same account with the same records."""
    rng = random.Random(SEED)
    frames = []
    for number in range(1, 9):
        member = Member(number)
        for _ in range(6):
            previous = None if member.rev is None else Previous(member.rev, member.data)  # type: ignore[arg-type]
            gone = [(min(member.records), None)] if len(member.records) > 4 else []
            honest = member.write(rng.randint(1, 5), *gone)
            frames.append((frame_of(rng.randint(1, 2**40), honest), member.key.public, previous, honest))
    reasons: Counter[str] = Counter()
    said = 0
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(MUTATIONS):
        frame, key, previous, honest = rng.choice(frames)
        broken = mutated(frame, rng)
        try:
            message = decode_frame(broken)
            if not isinstance(message, CommitMessage):
                reasons["another_kind"] += 1
                continue
            found = verify_commit(message, key, previous, NOW)
        except Refused as refused:
            reasons[refused.reason.value] += 1
            continue
        said += 1
        assert isinstance(found, Verified)
        entry = found.entry
        assert (entry.did, entry.rev, entry.commit, entry.data) == (
            honest.did,
            honest.rev,
            honest.commit,
            honest.data,
        ), f"seed {SEED}"
        if found.inverted:
            assert sorted(op.path for op in entry.ops) == sorted(op.path for op in honest.ops)
            assert {op.path: op.record for op in entry.ops} == {op.path: op.record for op in honest.ops}
        assert entry.head + cbor_uint(message.seq) + entry.tail == broken

    assert reasons.total() + said == MUTATIONS
    assert reasons.total() > MUTATIONS * 0.9
    assert {"frame_encoding", "car_hash", "frame_fields"} <= set(reasons)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base < 65_536, "kilobytes"


async def test_mutated_frames_of_a_stream_leave_the_log_as_the_honest_ones_make_it(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 5)]
        for _ in range(100):
            commit = rng.choice(members).write()
            for _ in range(rng.randrange(4)):
                await host.say(mutated(frame_of(host.seq + 1, commit), rng))
            host.seq = max(host.seq, max((_seq_of(frame) for _, frame in host.events), default=0))
            await host.say(commit)
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            for member in members:
                await until(
                    lambda member=member: (head := world.log.head(member.did)) is not None and head.rev == member.rev,
                    f"seed {SEED}: {world.dropped}",
                )
            await world.taken(host)

            for member in members:
                assert world.paths(member.did) == sorted(member.records)
            revs = [(e.did, e.rev) for e in await world.entries() if isinstance(e, Commit)]
            assert len(revs) == len(set(revs))


def _seq_of(frame: bytes) -> int:
    try:
        return decode_frame(frame).seq  # type: ignore[union-attr]
    except (Refused, AttributeError):
        return 0
