"""Programs that others wrote read our relay's firehose over loopback: each sees every event.

The source is `headrace up`, the relay a process of its own that crawls it; both are real, with real accounts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ingest.repo.frame import decode_frame
from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, Message
from tests.support.network import Network
from tests.support.npm import node, project
from tests.support.roles import Role
from tests.support.tools import linked, need

SUBSCRIBE = "/xrpc/com.atproto.sync.subscribeRepos"
POST = "app.bsky.feed.post"
PEOPLE = 4
POSTS = 15  # of each, one commit each
SECONDS = 60.0

pytestmark = pytest.mark.timeout(400)  # the first run builds two Go programs


class River:
    """A PDS and a relay that has taken all that it said; `messages` are the relay's, in order."""

    def __init__(self, pds: Network, relay: Role) -> None:
        self.pds = pds
        self.relay = relay
        self.people: list[dict[str, Any]] = []
        self.messages: list[Message] = []

    async def call(self, method: str, body: Any, person: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {} if person is None else {"Authorization": f"Bearer {person['accessJwt']}"}
        url = f"{self.pds.url}/xrpc/com.atproto.{method}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, json=body, headers=headers) as response,
        ):
            assert response.status == 200, await response.text()
            return dict(await response.json(content_type=None) or {})

    async def say(self, person: dict[str, Any], text: str) -> str:
        """The URI of a new post."""
        record = {"$type": POST, "text": text, "createdAt": "2026-01-01T00:00:00.000Z"}
        body = {"repo": person["did"], "collection": POST, "record": record}
        return str((await self.call("repo.createRecord", body, person))["uri"])

    async def live(self) -> None:
        """Everything that makes an event: accounts, commits of one and of many operations, deletions, handles."""
        for number in range(PEOPLE):
            body = {"handle": f"person{number}.test", "email": f"p{number}@example.com", "password": "a password"}
            self.people.append(await self.call("server.createAccount", body))
        for person in self.people:
            uris = [await self.say(person, f"post {number}") for number in range(POSTS)]
            did = person["did"]
            profile = {"$type": "app.bsky.actor.profile", "displayName": "one"}
            for name in ("one", "two"):
                value = {"repo": did, "collection": profile["$type"], "rkey": "self"}
                await self.call("repo.putRecord", {**value, "record": {**profile, "displayName": name}}, person)
            gone = {"repo": did, "collection": POST, "rkey": uris[0].rpartition("/")[2]}
            await self.call("repo.deleteRecord", gone, person)
            record = {"$type": "app.bsky.graph.follow", "subject": did, "createdAt": "2026-01-01T00:00:00.000Z"}
            create = {"$type": "com.atproto.repo.applyWrites#create", "collection": record["$type"], "value": record}
            await self.call("repo.applyWrites", {"repo": did, "writes": [create] * 12}, person)
        await self.call("identity.updateHandle", {"handle": "another.test"}, self.people[0])
        await self.call("server.deactivateAccount", {}, self.people[1])
        await self.call("server.activateAccount", None, self.people[1])

    def operations(self) -> list[tuple[str, str]]:
        """(URI, action) of every operation."""
        return [
            (f"at://{message.did}/{op.path}", op.action)
            for message in self.messages
            if isinstance(message, CommitMessage)
            for op in message.ops
        ]

    def records(self) -> dict[str, str]:
        """URI to CID of what is there at the end."""
        found: dict[str, str] = {}
        for message in self.messages:
            if isinstance(message, CommitMessage):
                for op in message.ops:
                    if op.cid is None:
                        del found[f"at://{message.did}/{op.path}"]
                    else:
                        found[f"at://{message.did}/{op.path}"] = str(op.cid)
        return found


async def read(url: str, complete: Callable[[list[Message]], bool]) -> list[Message]:
    """A firehose from its beginning, until it is complete."""
    found: list[Message] = []
    async with (
        asyncio.timeout(SECONDS),
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}{SUBSCRIBE}?cursor=0", max_msg_size=0) as stream,
    ):
        while not complete(found):
            found.append(decode_frame(await stream.receive_bytes()))
    return found


def commits(messages: list[Message]) -> dict[str, list[str]]:
    """Revs by account, in order."""
    found: dict[str, list[str]] = {}
    for message in messages:
        if isinstance(message, CommitMessage):
            found.setdefault(message.did, []).append(message.rev)
    return found


@pytest.fixture(scope="module")
def river(tmp_path_factory: pytest.TempPathFactory) -> Iterator[River]:
    folder = tmp_path_factory.mktemp("river")
    pds = Network(folder / "pds", settings={"rate_limit_scale": "1000"})
    relay = Role("relay", folder / "relay", {})
    try:
        pds.start()
        port = pds.url.rpartition(":")[2]
        relay.settings = {
            "relay_port": "0",
            "plc_url": pds.plc_url,
            "relay_crawl": f"localhost:{port}",
            "allow_private_addresses": "true",
            "rate_limit_scale": "1000",
        }
        relay.start()
        made = River(pds, relay)
        asyncio.run(_fill(made))
        yield made
    finally:
        for process in (relay, pds):
            if process.process is not None and process.process.poll() is None:
                process.stop()


async def _fill(river: River) -> None:
    await river.live()
    said = await read(
        river.pds.url, lambda found: isinstance(found[-1] if found else None, AccountMessage) and _ends(found)
    )
    wanted = commits(said)
    river.messages = await read(river.relay.url, lambda found: commits(found) == wanted and _ends(found))


def _ends(found: list[Message]) -> bool:
    """The last that happened: an account deactivated and activated again."""
    states = [message.active for message in found if isinstance(message, AccountMessage)]
    return False in states and states[states.index(False) + 1 :] == [True]


def test_the_relay_says_what_its_host_said(river: River) -> None:
    assert [len(revs) for revs in commits(river.messages).values()] == [POSTS + 5] * PEOPLE
    assert len(river.operations()) == PEOPLE * (POSTS + 3 + 12)
    assert any(isinstance(message, IdentityMessage) for message in river.messages)


@contextlib.asynccontextmanager
async def started(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program that ends with the test, and with the process that runs it."""
    die = ctypes.CDLL(None).prctl
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: die(1, signal.SIGKILL),
        limit=8 * 1024 * 1024,
        **options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_goat_sees_every_event_and_finds_each_tree_true(river: River, tmp_path: Path) -> None:
    goat = need("goat")
    log = tmp_path / "goat.log"
    with log.open("wb") as errors:
        address = river.relay.url.replace("http", "ws", 1)
        flags = ("--relay-host", address, "--cursor", "0", "--verify-basic", "--verify-mst")
        async with started(str(goat), "firehose", *flags, stderr=errors) as process, asyncio.timeout(SECONDS):
            assert process.stdout is not None
            lines = [json.loads(await process.stdout.readline()) for _ in river.messages]

    said = [(line["type"], line["payload"]["seq"]) for line in lines]
    assert [seq for _, seq in said] == [message.seq for message in river.messages]
    assert [kind for kind, _ in said].count("commit") == sum(len(revs) for revs in commits(river.messages).values())
    told = [json.loads(line) for line in log.read_text().splitlines()]
    # An account's first commit has nothing before it to go back to; of any other it would say the same as a fault.
    first = [message.seq for message in river.messages if isinstance(message, CommitMessage) and not message.since]
    assert [line["seq"] for line in told if line["level"] != "INFO"] == first
    assert len(first) == PEOPLE


@contextlib.asynccontextmanager
async def directory(documents: dict[str, Any]) -> AsyncIterator[tuple[str, Counter[str]]]:
    """A did:plc directory of these documents: its address, and how often each was asked for."""
    asked: Counter[str] = Counter()

    async def document(request: web.Request) -> web.Response:
        asked[request.match_info["did"]] += 1
        return web.json_response(documents[request.match_info["did"]])

    app = web.Application()
    app.router.add_get("/{did}", document)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_goat_finds_every_signature_true_but_those_of_whose_key_it_is_told_wrongly(
    river: River, tmp_path: Path
) -> None:
    need("goat")
    dids = [person["did"] for person in river.people]
    async with aiohttp.ClientSession() as session:
        documents = {did: await (await session.get(f"{river.pds.plc_url}/{did}")).json() for did in dids}
    honest, wronged = documents[dids[0]]["verificationMethod"], documents[dids[-1]]["verificationMethod"]
    assert honest[0]["id"].endswith("#atproto")
    wronged[0]["publicKeyMultibase"] = honest[0]["publicKeyMultibase"]
    log = tmp_path / "goat.log"
    with log.open("wb") as errors:
        async with directory(documents) as (plc, asked):
            # `goat firehose` has no option for the directory: what it has for a default is linked in.
            default = "github.com/bluesky-social/indigo/atproto/identity.DefaultPLCURL"
            goat = await asyncio.to_thread(linked, "goat", tmp_path, **{default: plc})
            address = river.relay.url.replace("http", "ws", 1)
            flags = ("--relay-host", address, "--cursor", "0", "--verify-sig", "--verify-basic", "--verify-mst")
            async with started(str(goat), "firehose", *flags, stderr=errors) as process, asyncio.timeout(SECONDS):
                assert process.stdout is not None
                seqs = [json.loads(await process.stdout.readline())["payload"]["seq"] for _ in river.messages]

    assert seqs == [message.seq for message in river.messages]
    assert sorted(asked) == sorted(dids)
    told = [json.loads(line) for line in log.read_text().splitlines()]
    failed = [line["seq"] for line in told if line["msg"] == "commit signature validation failed"]
    commits_of = [message for message in river.messages if isinstance(message, CommitMessage)]
    assert failed == [message.seq for message in commits_of if message.did == dids[-1]]
    others = {line["msg"] for line in told if line["level"] != "INFO"} - {"commit signature validation failed"}
    assert others == {"prevData is nil, skipping MST check"}


async def test_the_official_consumer_authenticates_every_operation(river: River) -> None:
    folder = project("consumer")
    address = river.relay.url.replace("http", "ws", 1)
    operations = river.operations()
    command = (str(node()), "consume.mjs", address, river.pds.plc_url, str(len(operations)))

    async with started(*command, cwd=folder) as process, asyncio.timeout(SECONDS):
        assert process.stdout is not None
        said = json.loads(await process.stdout.readline())

    assert said["uris"] == [uri for uri, _ in operations]
    for action in ("create", "update", "delete"):
        assert said["seen"][action] == [each for _, each in operations].count(action)
    assert said["seen"]["account"] >= 2
    assert said["seen"]["identity"] >= 1


async def test_tap_fetches_every_repo_and_follows_it(river: River, tmp_path: Path) -> None:
    tap = need("tap")
    port = _free_port()
    flags = (
        f"--db-url=sqlite://{tmp_path}/tap.db",
        f"--bind=127.0.0.1:{port}",
        f"--plc-url={river.pds.plc_url}",
        f"--relay-url={river.relay.url}",
        "--full-network",
        "--disable-acks",
    )
    expected = river.records()
    found: dict[str, str] = {}
    with (tmp_path / "tap.log").open("wb") as errors:
        async with (
            started(str(tap), "run", *flags, stderr=errors),
            asyncio.timeout(SECONDS),
            aiohttp.ClientSession() as session,
        ):
            channel = await _connected(lambda: session.ws_connect(f"http://127.0.0.1:{port}/channel"))
            await _records(channel, found, lambda: expected.keys() <= found.keys())
            news = [await river.say(person, "news") for person in river.people]
            await _records(channel, found, lambda: set(news) <= found.keys())

    assert {uri: cid for uri, cid in found.items() if uri not in news} == expected


async def _records(channel: aiohttp.ClientWebSocketResponse, found: dict[str, str], done: Callable[[], bool]) -> None:
    while not done():
        event = await channel.receive_json()
        if event["type"] == "record":
            record = event["record"]
            uri = f"at://{record['did']}/{record['collection']}/{record['rkey']}"
            if record["action"] == "delete":
                found.pop(uri, None)
            else:
                found[uri] = record["cid"]


async def _connected(
    connect: Callable[[], Awaitable[aiohttp.ClientWebSocketResponse]],
) -> aiohttp.ClientWebSocketResponse:
    """Once the program listens: it says so nowhere else."""
    while True:
        try:
            return await connect()
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
