"""The main job on real input: 80 frames of the real relay, through the command line, the log, the views and the API.

Expected is what the production Jetstream emitted for the same frames.
"""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import RawTestServer
from prometheus_client import CollectorRegistry

from api.com.atproto.sync import subscribe_repos
from api.firehose import FirehoseHub
from api.metrics import HttpMetrics
from api.xrpc import Ctx, Services
from ingest.log_sqlite.log import SqliteLog
from ingest.repo.car import read_car
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from ingest.repo.mst import Tree
from schemas.data import cbor_to_json
from schemas.entries import Commit, cbor_uint
from tests.support.network import Network

CORPUS = "bluesky-social/jetstream/internal/corpus/testdata"


@dataclass
class Corpus:
    frames: list[bytes]
    lines: list[dict[str, Any]]
    arguments: tuple[str, ...]

    @property
    def final(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """(did, collection, rkey) to the last operation there."""
        found = {}
        for line in self.lines:
            commit = line["commit"]
            found[line["did"], commit["collection"], commit["rkey"]] = commit
        return found


@pytest.fixture
def corpus(vectors: Callable[[str], Path]) -> Corpus:
    data = vectors(f"{CORPUS}/frames.bin").read_bytes()
    frames, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    lines = [orjson.loads(line) for line in vectors(f"{CORPUS}/expected_v1.jsonl").read_bytes().splitlines()]
    assert (len(frames), len(lines)) == (80, 82)
    assert {line["kind"] for line in lines} == {"commit"}
    docs = vectors(f"{CORPUS}/did_docs.json")
    return Corpus(frames, lines, (str(vectors(f"{CORPUS}/frames.bin")), "--did-docs", str(docs)))


def ingest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headrace", "ingest", "frames", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def running() -> Iterator[Callable[[Path], Network]]:
    started: list[Network] = []

    def start(data: Path) -> Network:
        started.append(Network(data, settings={"rate_limit_scale": "1000"}))
        return started[-1].start()

    yield start
    for network in started:
        if network.process is not None and network.process.poll() is None:
            network.stop()


def ask(network: Network, nsid: str, **params: Any) -> tuple[int, Any]:
    try:
        with urlopen(f"{network.url}/xrpc/{nsid}?{urlencode(params, doseq=True)}", timeout=20) as response:
            return response.status, orjson.loads(response.read())
    except HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())


async def commits_of(log: SqliteLog) -> list[Commit]:
    return [entry for _, entry in await log.read_commits(0, 0, 10_000) if isinstance(entry, Commit)]


def by_account(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found = defaultdict(list)
    for line in lines:
        found[line["did"]].append({name: value for name, value in line.items() if name != "time_us"})
    return found


def jetstream(entry: Commit) -> list[dict[str, Any]]:
    """The lines that a Jetstream emits for a commit, from what our log holds of it."""
    lines = []
    for op in entry.ops:
        collection, _, rkey = op.path.partition("/")
        commit: dict[str, Any] = {
            "rev": entry.rev,
            "operation": op.action,
            "collection": collection,
            "rkey": rkey,
        }
        if op.record is not None:
            commit |= {"record": orjson.loads(cbor_to_json(op.record)), "cid": str(op.cid)}
        lines.append({"did": entry.did, "kind": "commit", "commit": commit})
    return lines


def seq_of(frame: bytes) -> int:
    message = decode_frame(frame)
    assert isinstance(message, CommitMessage)
    return message.seq


async def test_frames_go_into_a_fresh_directory_and_out_again_as_they_came(tmp_path: Path, corpus: Corpus) -> None:
    done = ingest(*corpus.arguments, "--data", str(tmp_path / "data"), "--json")

    assert done.returncode == 0, done.stderr
    summary = orjson.loads(done.stdout)
    assert (summary["accepted"], summary["refused"], summary["ignored"]) == (80, 0, 0)
    log = await SqliteLog.open(tmp_path / "data" / "log.sqlite")
    entries = await commits_of(log)
    served = await firehose_of(log, 80)
    await log.close()
    assert by_account([line for entry in entries for line in jetstream(entry)]) == by_account(corpus.lines)
    assert len(entries) == 80
    for entry in entries:
        assert inverted(entry) == entry.prev_data
    came = {decode_frame(frame).rev: frame for frame in corpus.frames}
    for number, frame in enumerate(served, 1):
        original = came.pop(decode_frame(frame).rev)
        was, now = b"cseq" + cbor_uint(seq_of(original)), b"cseq" + cbor_uint(seq_of(frame))
        assert original.count(was) == 1
        assert frame == original.replace(was, now)
        assert seq_of(frame) == number
    assert not came


async def firehose_of(log: SqliteLog, count: int) -> list[bytes]:
    """What subscribeRepos sends of this log where foreign accounts are shown too: the relay's listener."""
    hub = FirehoseHub(log, lambda _: True)
    services = Services(firehose=hub, metrics=HttpMetrics(CollectorRegistry()))

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        answer = await subscribe_repos.handle(
            Ctx("com.atproto.sync.subscribeRepos", services, params={"cursor": 0}, request=request)
        )
        assert isinstance(answer, web.StreamResponse)
        return answer

    server = RawTestServer(handle)
    await server.start_server()
    try:
        async with ClientSession() as session, session.ws_connect(server.make_url("/")) as socket:
            return [await socket.receive_bytes(timeout=10) for _ in range(count)]
    finally:
        hub.close()
        await server.close()


def inverted(entry: Commit) -> str | None:
    """The root of the tree before the commit, by undoing each operation on the tree that its frame shows."""
    message = decode_frame(entry.head + cbor_uint(1) + entry.tail)
    assert isinstance(message, CommitMessage)
    tree = Tree.open(entry.data, read_car(message.blocks)[1].__getitem__)
    for op in entry.ops:
        if op.prev is None:
            assert tree.delete(op.path) == op.cid
        else:
            assert tree.put(op.path, op.prev) == op.cid
    return tree.write()[0]


def test_every_record_reads_back_from_the_network_that_then_serves_the_directory(
    tmp_path: Path, corpus: Corpus, running: Callable[[Path], Network]
) -> None:
    done = ingest(*corpus.arguments, "--data", str(tmp_path / "data"), "--trust-handles", "--json")
    assert done.returncode == 0, done.stderr

    check(running(tmp_path / "data"), corpus)


def test_frames_go_into_a_running_network_and_read_back(
    tmp_path: Path, corpus: Corpus, running: Callable[[Path], Network]
) -> None:
    network = running(tmp_path / "data")

    done = ingest(*corpus.arguments, "--data", str(network.data), "--trust-handles", "--json")

    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout)["accepted"] == 80
    check(network, corpus)
    # Once is enough: the same file again is refused frame by frame, and nothing has changed.
    again = ingest(*corpus.arguments, "--data", str(network.data), "--json")
    assert again.returncode == 3
    assert orjson.loads(again.stdout)["reasons"] == {"rev_stale": 80}
    check(network, corpus)


def check(network: Network, corpus: Corpus) -> None:
    """Every record as the production Jetstream saw it last, from the log and, of posts, from the views."""
    docs = orjson.loads(Path(corpus.arguments[2]).read_bytes())
    posts = {}
    for (did, collection, rkey), commit in corpus.final.items():
        status, found = ask(network, "com.atproto.repo.getRecord", repo=did, collection=collection, rkey=rkey)
        if commit["operation"] == "delete":
            assert (status, found["error"]) == (400, "RecordNotFound")
            continue
        uri = f"at://{did}/{collection}/{rkey}"
        assert (status, found) == (200, {"uri": uri, "cid": commit["cid"], "value": commit["record"]})
        if collection == "app.bsky.feed.post":
            posts[uri] = commit
    assert len(posts) > 5
    shown = {}
    uris = list(posts)
    for at in range(0, len(uris), 25):
        status, found = ask(network, "app.bsky.feed.getPosts", uris=uris[at : at + 25])
        assert status == 200
        shown |= {post["uri"]: post for post in found["posts"]}
    assert shown.keys() == posts.keys()
    for uri, commit in posts.items():
        did = uri.split("/")[2]
        assert (shown[uri]["cid"], shown[uri]["record"]) == (commit["cid"], commit["record"])
        assert shown[uri]["author"]["did"] == did
        assert shown[uri]["author"]["handle"] == docs[did]["alsoKnownAs"][0].removeprefix("at://")


def test_a_stranger_understands_what_is_printed(tmp_path: Path, corpus: Corpus) -> None:
    data = ("--data", str(tmp_path / "data"))

    first = ingest(*corpus.arguments, *data)
    again = ingest(*corpus.arguments, *data)
    missing = ingest(corpus.arguments[0], *data)
    docs = tmp_path / "docs.json"
    docs.write_text("{}")
    unknown = ingest(corpus.arguments[0], "--did-docs", str(docs), "--data", str(tmp_path / "other"))

    assert first.returncode == 0
    assert "accepted: 80" in first.stdout
    assert first.stderr == ""
    assert again.returncode == 3
    assert "rev_stale: 80" in again.stdout
    assert "is not above" in again.stdout
    assert len(again.stdout.splitlines()) < 40
    assert missing.returncode == 2
    assert "did-docs" in (missing.stderr + missing.stdout).lower()
    assert unknown.returncode == 3
    assert "is not among the DID documents given" in unknown.stdout
