"""`/subscribe`: the lines of the production service, byte for byte, and what a subscriber may choose."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import zstandard
from aiohttp import WSMsgType

from api.relay import jetstream_lines
from api.relay.jetstream import COLLECTIONS_MAX, DIDS_MAX, Options
from api.relay.jetstream_lines import JetstreamLines, lines_of
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from schemas import cbor, jetstream
from schemas.cid import Cid
from schemas.data import from_json
from schemas.entries import FirehoseEvent
from schemas.errors import XrpcError
from tests.interop.firehose_vectors import CORPUS, real_frames
from tests.relay.listener import Listener, listening
from tests.relay.world.host import POST, Host, post
from tests.relay.world.people import People, did_of
from tests.relay.world.relay import World

LIKE = "app.bsky.feed.like"
GOLDEN = "bluesky-social/jetstream/internal/subscribe/testdata/golden_v1.jsonl"
DICTIONARY = "bluesky-social/jetstream/internal/subscribe/dictionaries/legacy_subscribe.zdict"
_TIME = re.compile(rb'"time_us":\d+')


def event_of(frame: bytes, time: int = 1) -> FirehoseEvent:
    message = decode_frame(frame)
    assert isinstance(message, CommitMessage)
    return FirehoseEvent(message.seq, message.did, "commit", message.head, message.tail, time)


def test_every_operation_of_real_frames_is_the_line_that_production_made(vectors: Callable[[str], Path]) -> None:
    expected = vectors(f"{CORPUS}/expected_v1.jsonl").read_bytes().splitlines()

    frames = real_frames(vectors)
    made = [line.data for frame in frames for line in lines_of(event_of(frame))]

    assert len(frames) == 80
    assert sorted(_TIME.sub(b"", line) for line in made) == sorted(_TIME.sub(b"", line) for line in expected)


def test_golden_lines_are_made_again_byte_for_byte(vectors: Callable[[str], Path]) -> None:
    lines = vectors(GOLDEN).read_bytes().splitlines()
    for line in lines:
        said = orjson.loads(line)
        did, time_us = said["did"], said["time_us"]
        if said["kind"] == "commit":
            commit = said["commit"]
            record = cbor.encode(from_json(commit["record"])) if "record" in commit else None
            cid = Cid.parse(commit["cid"]) if record is not None else None
            assert record is None or Cid.of_cbor(record) == cid
            path = f"{commit['collection']}/{commit['rkey']}"
            made = jetstream.commit_line(did, time_us, commit["rev"], commit["operation"], path, record, cid)
        elif said["kind"] == "identity":
            it = said["identity"]
            made = jetstream.identity_line(did, time_us, it["seq"], it["time"], it.get("handle"))
        else:
            it = said["account"]
            made = jetstream.account_line(
                did, time_us, it["seq"], it["time"], active=it["active"], status=it.get("status")
            )
        assert made == line
    assert len(lines) == 10


def test_what_json_cannot_show_is_left_out_and_the_rest_of_its_commit_is_not() -> None:
    member = Host(People()).add(1)
    entry = member.commit((f"{POST}/a", post("a")), (f"{POST}/b", cbor.encode({}) + b"x"), (f"{POST}/c", post("c")))

    found = list(lines_of(FirehoseEvent(1, member.did, "commit", entry.head, entry.tail, 5)))

    assert [orjson.loads(line.data)["commit"]["rkey"] for line in found] == ["a", "c"]


def test_a_deletion_has_no_record_and_a_sync_no_line() -> None:
    member = Host(People()).add(1)
    member.commit((f"{POST}/a", post("a")))
    entry = member.commit((f"{POST}/a", None))

    (line,) = lines_of(FirehoseEvent(2, member.did, "commit", entry.head, entry.tail, 5))

    commit = {"rev": entry.rev, "operation": "delete", "collection": POST, "rkey": "a"}
    assert orjson.loads(line.data) == {"did": member.did, "time_us": 5, "kind": "commit", "commit": commit}
    assert not list(lines_of(FirehoseEvent(2, member.did, "sync", b"", b"", 5)))


@dataclass
class Scene:
    """Two accounts: posts and likes in turn, one commit each; then an account event."""

    host: Host
    world: World
    relay: Listener

    async def like(self, number: int) -> None:
        member = self.host.members[did_of(number)]
        member.posts += 1
        await self.host.say(member.commit((f"{LIKE}/{member.posts:06d}", cbor.encode({"$type": LIKE}))))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in (1, 2)]
        async with (
            World(tmp_path, people, crawl=(host.name,)) as world,
            listening(world, tmp_path) as relay,
        ):
            made = Scene(host, world, relay)
            for number, member in enumerate(members, 1):
                await host.say(member.write(), member.write(2))
                await made.like(number)
            await host.account(did_of(2), None)
            await world.taken(host)
            yield made


async def lines(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    return [orjson.loads(await socket.receive_str(timeout=10)) for _ in range(count)]


def short(line: dict[str, Any]) -> tuple[str, str]:
    return line["did"], line["commit"]["collection"] if line["kind"] == "commit" else line["kind"]


ONE = [(did_of(1), POST)] * 3 + [(did_of(1), LIKE)]
TWO = [(did_of(2), POST)] * 3 + [(did_of(2), LIKE), (did_of(2), "account")]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", ONE + TWO),
        (f"&wantedCollections={LIKE}", [ONE[-1], *TWO[-2:]]),
        ("&wantedCollections=app.bsky.feed.*", ONE + TWO),
        ("&wantedCollections=app.bsky.fee.*", [TWO[-1]]),
        (f"&wantedCollections=com.example.*&wantedCollections={POST}", ONE[:3] + TWO[:3] + [TWO[-1]]),
        (f"&wantedDids={did_of(1)}", ONE),
        (f"&wantedDids={did_of(1)}&wantedDids={did_of(2)}&wantedCollections={LIKE}", [ONE[-1], *TWO[-2:]]),
        ("&maxMessageSizeBytes=200", [TWO[-1]]),
        ("&maxMessageSizeBytes=-5", ONE + TWO),
    ],
)
async def test_a_subscriber_is_sent_what_it_wants_and_then_what_comes(
    scene: Scene, query: str, wanted: list[tuple[str, str]]
) -> None:
    async with scene.relay.lines(f"?cursor=0{query}") as socket:
        found = [short(line) for line in await lines(socket, len(wanted))]
        await scene.host.account(did_of(1), None)
        last = short((await lines(socket, 1))[0])

    # Accounts are taken side by side: order holds within each.
    assert sorted(found, key=lambda line: line[0]) == sorted(wanted, key=lambda line: line[0])
    assert last == (did_of(1), "account")


async def test_a_cursor_is_a_time_and_inclusive(scene: Scene) -> None:
    async with scene.relay.lines("?cursor=1") as socket:
        everything = await lines(socket, 9)
    times = [line["time_us"] for line in everything]
    assert times == sorted(times)

    for at in range(9):
        first = times.index(times[at])
        async with scene.relay.lines(f"?cursor={times[at]}") as socket:
            assert await lines(socket, 9 - first) == everything[first:]
        async with scene.relay.lines(f"?cursor={times[at] + 1}&wantedCollections=com.example.none") as socket:
            await scene.host.account(did_of(1), None)
            kinds = [line["kind"] for line in await lines(socket, 1)]
        assert kinds == ["account"]


async def test_without_a_cursor_or_with_one_in_the_future_only_what_comes_is_sent(scene: Scene) -> None:
    async with scene.relay.lines() as live, scene.relay.lines(f"?cursor={2**62}") as future:
        # A subscriber begins where the log ends when it is first heard of: it has been, once its options are taken.
        for socket in (live, future):
            await socket.send_json({"type": "options_update", "payload": {}})
            await socket.ping()
        await scene.like(1)
        assert short((await lines(live, 1))[0]) == ONE[-1]
        assert short((await lines(future, 1))[0]) == ONE[-1]


async def test_nothing_is_sent_before_the_hello_and_options_may_change(scene: Scene) -> None:
    async with scene.relay.lines("?cursor=0&requireHello=true") as socket:
        await scene.like(1)
        await scene.world.taken(scene.host)
        payload = {"wantedCollections": [LIKE], "wantedDids": [did_of(1)], "maxMessageSizeBytes": 0}
        await socket.send_json({"type": "options_update", "payload": payload})
        assert [short(line) for line in await lines(socket, 2)] == [ONE[-1]] * 2
        await socket.send_json({"type": "options_update", "payload": {"wantedCollections": [POST]}})
        await socket.send_json({"type": "options_update", "payload": {"wantedDids": [did_of(2)]}})
        await socket.close()


@pytest.mark.parametrize(
    "said",
    [
        "no json",
        "[]",
        '{"type": "hello"}',
        '{"type": "options_update", "payload": {"wantedCollections": 5}}',
        '{"type": "options_update", "payload": {"wantedCollections": ["not an nsid"]}}',
        '{"type": "options_update", "payload": {"wantedDids": ["alice"]}}',
        '{"type": "options_update", "payload": {"maxMessageSizeBytes": "1"}}',
    ],
)
async def test_options_that_are_wrong_end_the_subscription(scene: Scene, said: str) -> None:
    async with scene.relay.lines("?requireHello=true") as socket:
        await socket.send_str(said)
        end = await socket.receive(timeout=10)

    assert (end.type, end.data) == (WSMsgType.CLOSE, aiohttp.WSCloseCode.POLICY_VIOLATION)


@pytest.mark.parametrize(
    "query",
    [
        "wantedCollections=not-an-nsid",
        "wantedCollections=*",
        "wantedCollections=app.*",
        "wantedDids=alice",
        "cursor=x",
        f"cursor={2**63}",
        "maxMessageSizeBytes=1e3",
        "compress=true",
    ],
)
async def test_a_choice_that_is_none_is_refused_before_the_stream(scene: Scene, query: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await scene.relay.lines(f"?{query}")

    assert refused.value.status == 400


def test_choices_are_bounded() -> None:
    collections, dids = [f"com.example.a{n}" for n in range(COLLECTIONS_MAX)], [did_of(n) for n in range(DIDS_MAX)]
    assert len(Options.of(collections, dids, 0).dids) == DIDS_MAX
    with pytest.raises(XrpcError, match="at most"):
        Options.of([*collections, "com.example.more"], (), 0)
    with pytest.raises(XrpcError, match="at most"):
        Options.of((), [*dids, did_of(DIDS_MAX)], 0)


async def test_zstd_is_of_the_dictionary_that_clients_have(tmp_path: Path, vectors: Callable[[str], Path]) -> None:
    people, dictionary = People(), vectors(DICTIONARY)
    unpack = zstandard.ZstdDecompressor(dict_data=zstandard.ZstdCompressionDict(dictionary.read_bytes()))
    async with Host(people) as host:
        await host.say(*(host.add(number).write() for number in range(1, 6)))
        async with (
            World(tmp_path, people, crawl=(host.name,)) as world,
            listening(world, tmp_path, jetstream_dictionary=dictionary) as relay,
        ):
            await world.taken(host)
            async with relay.lines("?cursor=0") as socket:
                plain = [(await socket.receive_str(timeout=10)).encode() for _ in range(5)]
            for query, headers in (("&compress=true", {}), ("", {"Socket-Encoding": "zstd"})):
                async with relay.lines(f"?cursor=0{query}", **headers) as socket:
                    packed = [await socket.receive_bytes(timeout=10) for _ in range(5)]
                assert [unpack.decompress(each) for each in packed] == plain
                assert zstandard.get_frame_parameters(packed[0]).dict_id == 1_612_007_021
                assert sum(map(len, packed)) < sum(map(len, plain)) * 0.7


async def test_lines_are_made_once_for_all_and_kept_within_bounds(scene: Scene, monkeypatch) -> None:
    made = 0

    def counted(event: FirehoseEvent) -> Any:
        nonlocal made
        made += 1
        return lines_of(event)

    monkeypatch.setattr(jetstream_lines, "lines_of", counted)
    shared = JetstreamLines(scene.world.log)
    first = await shared.read(0, 100)
    assert await shared.read(0, 100) == first
    assert made == len(first) == 7
    monkeypatch.setattr(jetstream_lines, "KEPT_BYTES", 10)
    await scene.like(1)
    await scene.world.taken(scene.host)
    await shared.read(0, 100)
    await shared.read(0, 100)

    assert made == 7 + 1 + 8
