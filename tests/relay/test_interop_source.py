"""The reference PDS as a host that our relay reads: every commit of it holds, and is passed on.

It takes 500 MB and a compiler to install: `make tools` does it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from ingest.repo.messages import AccountMessage, CommitMessage, IdentityMessage, Message
from tests.relay.test_backfill_command import Command, ended, log_of
from tests.relay.test_crash import heads
from tests.relay.test_interop_consumers import POST, commits, read
from tests.relay.world.relay import until
from tests.support.network import Network
from tests.support.npm import node, project
from tests.support.roles import Role

POSTS = 10
# Its SQLite module dies of statements that are collected by a task of the collector's own, outside of any script.
_UNHURRIED = (
    "--no-minor-gc-task",
    "--no-incremental-marking-task",
    "--no-memory-reducer",
    "--min-semi-space-size=256",
    "--max-semi-space-size=256",
)
LOOPBACK = {"allow_private_addresses": "true"}

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Network]:
    """`headrace up`, for its did:plc directory."""
    running = Network(tmp_path / "directory", settings={"rate_limit_scale": "1000"})
    try:
        yield running.start()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()


@pytest.fixture
def reference(tmp_path: Path, directory: Network) -> Iterator[str]:
    """The address of a reference PDS."""
    folder = project("reference")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("data", "blobs"):
        (tmp_path / name).mkdir()
    settings = {
        "PDS_PORT": str(port),
        "PDS_HOSTNAME": "localhost",
        "PDS_SERVICE_HANDLE_DOMAINS": ".test",
        "PDS_DATA_DIRECTORY": str(tmp_path / "data"),
        "PDS_BLOBSTORE_DISK_LOCATION": str(tmp_path / "blobs"),
        "PDS_DID_PLC_URL": directory.plc_url,
        "PDS_JWT_SECRET": secrets.token_hex(16),
        "PDS_ADMIN_PASSWORD": secrets.token_hex(16),
        "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX": secrets.token_hex(32),
        "PDS_BSKY_APP_VIEW_URL": directory.url,
        "PDS_BSKY_APP_VIEW_DID": "did:web:localhost",
        "PDS_DEV_MODE": "true",
        "PDS_INVITE_REQUIRED": "false",
        "PDS_RATE_LIMITS_ENABLED": "false",
        "PDS_DISABLE_SSRF_PROTECTION": "true",
        "LOG_ENABLED": "false",
    }
    die = ctypes.CDLL(None).prctl
    process = subprocess.Popen(
        [str(node()), *_UNHURRIED, "serve.mjs"],
        cwd=folder,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        preexec_fn=lambda: die(1, signal.SIGKILL),  # noqa: PLW1509 - nothing is locked by a test's threads here
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield f"http://localhost:{port}"
    finally:
        process.kill()
        process.communicate()


async def test_all_that_the_reference_says_holds(reference: str, directory: Network, tmp_path: Path) -> None:
    settings = {
        "relay_port": "0",
        "plc_url": directory.plc_url,
        "relay_crawl": reference.removeprefix("http://"),
        "allow_private_addresses": "true",
    }
    relay = await asyncio.to_thread(Role("relay", tmp_path / "relay", settings).start)
    try:
        uris = await _live(reference)
        wanted = POSTS + 3  # an account's own commit, posts, a deletion, a profile

        def complete(found: list[Message]) -> bool:
            return [len(revs) for revs in commits(found).values()] == [wanted]

        said, passed = await read(reference, complete), await read(relay.url, complete)
    finally:
        await asyncio.to_thread(relay.stop)

    assert commits(passed) == commits(said)
    created = [
        op.path for each in passed if isinstance(each, CommitMessage) for op in each.ops if op.action == "create"
    ]
    assert [path.partition("/")[2] for path in created if path.startswith(POST)] == [
        uri.rpartition("/")[2] for uri in uris
    ]
    assert {AccountMessage, IdentityMessage} <= {type(message) for message in passed}


async def test_all_of_the_reference_is_fetched_and_then_followed(
    reference: str, directory: Network, tmp_path: Path
) -> None:
    """Accounts from before anybody listened, while others write; the stream begins where it is now."""
    host = reference.removeprefix("http://")
    settings = {"relay_port": "0", "plc_url": directory.plc_url, "relay_backlog": "false", **LOOPBACK}
    people = [await _account(reference, f"early{number}") for number in range(3)]
    for person in people:
        await _post(reference, person, POSTS)
    relay = await asyncio.to_thread(Role("relay", tmp_path / "relay", settings).start)
    try:
        command = Command(tmp_path / "relay", directory.plc_url, relay_port="0", relay_backlog="false")
        process = await command.begin(host)
        await _post(reference, people[0], POSTS)  # while the repos come
        done = await ended(process)
        assert (done.code, done.views[0]["became"], done.views[0]["failed"]) == (0, {"fetched": 3}, {})
        late = await _account(reference, "late")
        for person in (*people, late):
            await _post(reference, person, 3)
        wanted = {person["did"]: await _stands_at(reference, person["did"]) for person in (*people, late)}
        await until(lambda: heads(tmp_path / "relay") == {did: rev for did, (rev, _) in wanted.items()})
        again = await Command(tmp_path / "relay", directory.plc_url, relay_port="0").run(host)
        assert again.views[0]["became"] == {"current": 4}
    finally:
        await asyncio.to_thread(relay.stop)

    async with log_of(tmp_path / "relay") as log:
        assert {did: (str(log.head(did).rev), log.paths(did, limit=1_000)) for did in wanted} == wanted  # type: ignore[union-attr]
        assert not any(log.head(did).partial for did in wanted)  # type: ignore[union-attr]
    assert [len(paths) for _, paths in wanted.values()] == [2 * POSTS + 3, POSTS + 3, POSTS + 3, 3]


async def _stands_at(url: str, did: str) -> tuple[str, list[str]]:
    """Its rev and the paths of its records."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/xrpc/com.atproto.sync.getLatestCommit", params={"did": did}) as response:
            rev = (await response.json())["rev"]
        ask = {"repo": did, "collection": POST, "limit": "100"}
        async with session.get(f"{url}/xrpc/com.atproto.repo.listRecords", params=ask) as response:
            records = (await response.json())["records"]
    return rev, sorted(record["uri"].removeprefix(f"at://{did}/") for record in records)


async def _account(url: str, name: str) -> dict[str, str]:
    person = {"handle": f"{name}.test", "email": f"{name}@example.com", "password": "a password"}
    return await _call(url, "server.createAccount", person)


async def _post(url: str, person: dict[str, str], count: int) -> None:
    for number in range(count):
        record = {"$type": POST, "text": f"post {number}", "createdAt": "2026-01-01T00:00:00.000Z"}
        body = {"repo": person["did"], "collection": POST, "record": record}
        await _call(url, "repo.createRecord", body, person["accessJwt"])


async def _call(url: str, method: str, body: object, token: str = "") -> dict[str, str]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/xrpc/com.atproto.{method}", json=body, headers=headers) as response,
    ):
        assert response.status == 200, await response.text()
        return dict(await response.json(content_type=None) or {})


async def _live(url: str) -> list[str]:
    """An account that writes posts, deletes one and sets its profile; the posts' URIs."""
    async with aiohttp.ClientSession() as session:

        async def call(method: str, body: object, token: str = "") -> dict:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with session.post(f"{url}/xrpc/com.atproto.{method}", json=body, headers=headers) as response:
                assert response.status == 200, await response.text()
                return dict(await response.json(content_type=None) or {})

        person = {"handle": "relayed.test", "email": "person@example.com", "password": "a password"}
        made = await call("server.createAccount", person)
        did, token = made["did"], made["accessJwt"]
        uris = []
        for number in range(POSTS):
            record = {"$type": POST, "text": f"post {number}", "createdAt": "2026-01-01T00:00:00.000Z"}
            body = {"repo": did, "collection": POST, "record": record}
            uris.append((await call("repo.createRecord", body, token))["uri"])
        gone = {"repo": did, "collection": POST, "rkey": uris[0].rpartition("/")[2]}
        await call("repo.deleteRecord", gone, token)
        kind = "app.bsky.actor.profile"
        profile = {"repo": did, "collection": kind, "rkey": "self", "record": {"$type": kind, "displayName": "one"}}
        await call("repo.putRecord", profile, token)
    return uris
