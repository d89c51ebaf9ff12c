"""The roles of a cluster as processes: what each refuses, how each starts and ends, and one story over all of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from schemas.tid import tid_from_micros
from tests.relay.world.host import START, Host
from tests.relay.world.host import post as written
from tests.relay.world.people import People, served
from tests.support.roles import Role, RolesCluster

pytestmark = pytest.mark.cluster
Json = dict[str, Any]
NOW = "2026-11-21T10:00:00.000Z"
STEPS_PYTHON = 12  # of tests/e2e/python/story.py
IN_VAIN = "headrace_read_your_writes_timeouts_total"
POST, LIKE, FOLLOW = "app.bsky.feed.post", "app.bsky.feed.like", "app.bsky.graph.follow"


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, kafka_servers: str, cql_address: tuple[str, int], cluster_name: str
) -> Iterator[RolesCluster]:
    made = RolesCluster(tmp_path_factory.mktemp("roles"), kafka_servers, cql_address, cluster_name)
    try:
        yield made.start()
    finally:
        made.kill()
        made.drop()


def headrace(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


class Client:
    """An account at a PDS."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.token = ""
        self.did = ""

    async def call(self, method: str, nsid: str, **more: Any) -> tuple[int, Json, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        headers |= more.pop("headers", {})
        async with self._session.request(method, f"{self.url}/xrpc/{nsid}", headers=headers, **more) as response:
            return response.status, orjson.loads(await response.read() or b"{}"), response.headers

    async def get(self, nsid: str, **params: str) -> Json:
        status, body, _ = await self.call("GET", nsid, params=params)
        assert status == 200, (nsid, body)
        return body

    async def post(self, nsid: str, body: Json) -> Json:
        status, answer, _ = await self.call("POST", nsid, json=body)
        assert status == 200, (nsid, answer)
        return answer

    async def join(self, name: str) -> Client:
        new = {"handle": f"{name}.test", "email": f"{name}@example.com", "password": "a long password"}
        made = await self.post("com.atproto.server.createAccount", new)
        self.token, self.did = made["accessJwt"], made["did"]
        return self

    async def create(self, collection: str, **record: Any) -> Json:
        value = {"$type": collection, "createdAt": NOW, **record}
        body = {"repo": self.did, "collection": collection, "record": value}
        return await self.post("com.atproto.repo.createRecord", body)

    async def delete(self, uri: str) -> None:
        _, _, did, collection, rkey = uri.split("/")
        await self.post("com.atproto.repo.deleteRecord", {"repo": did, "collection": collection, "rkey": rkey})

    async def timeline(self) -> list[str]:
        return [item["post"]["uri"] for item in (await self.get("app.bsky.feed.getTimeline"))["feed"]]


async def settled(session: aiohttp.ClientSession, cluster: RolesCluster) -> None:
    """Return when every view holds all that the log holds, and the AppView shows nothing from before."""
    async with asyncio.timeout(120):
        held: float | None = None
        while True:
            async with session.get(f"{cluster['process' if held is None else 'appview'].ops}/status") as response:
                status = await response.json()
            if held is not None:
                if status["shows_since"] >= held:
                    return
            elif status["views"]["behind"] == 0:
                held = time.time()


async def commits_of(session: aiohttp.ClientSession, url: str, dids: set[str], last: str) -> list[CommitMessage]:
    """The commits of these accounts on a firehose, from its beginning to the one that deletes the record at `last`."""
    found: list[CommitMessage] = []
    async with (
        asyncio.timeout(60),
        session.ws_connect(f"{url}/xrpc/com.atproto.sync.subscribeRepos?cursor=0") as socket,
    ):
        while True:
            message = decode_frame(await socket.receive_bytes())
            if isinstance(message, CommitMessage) and message.did in dids:
                found.append(message)
                if any(op.cid is None and last.endswith(op.path) for op in message.ops):
                    return found


async def commit_of(session: aiohttp.ClientSession, url: str, did: str) -> CommitMessage:
    """An account's first commit on a firehose."""
    async with (
        asyncio.timeout(120),
        session.ws_connect(f"{url}/xrpc/com.atproto.sync.subscribeRepos?cursor=0") as socket,
    ):
        while True:
            message = decode_frame(await socket.receive_bytes())
            if isinstance(message, CommitMessage) and message.did == did:
                return message


async def test_a_story_goes_through_every_role(cluster: RolesCluster) -> None:
    async with aiohttp.ClientSession() as session:
        alice = await Client(session, cluster["pds"].url).join("alice")
        bob = await Client(session, cluster["pds"].url).join("bob")

        post = await alice.create(POST, text="hello")
        await bob.create(FOLLOW, subject=alice.did)
        like = await bob.create(LIKE, subject={"uri": post["uri"], "cid": post["cid"]})
        own = await bob.create(POST, text="mine")
        await settled(session, cluster)
        seen = await bob.timeline()
        (liked,) = (await bob.get("app.bsky.feed.getPosts", uris=post["uri"]))["posts"]
        followers = (await alice.get("app.bsky.graph.getFollowers", actor=alice.did))["followers"]
        await bob.delete(like["uri"])
        await alice.delete(post["uri"])
        await settled(session, cluster)
        left = await bob.timeline()
        shown = await commits_of(session, cluster["firehose"].url, {alice.did, bob.did}, post["uri"])
        own_firehose = await commits_of(session, cluster["pds"].url, {alice.did, bob.did}, post["uri"])

    assert set(seen) == {post["uri"], own["uri"]}
    assert liked["likeCount"] == 1
    assert liked["viewer"]["like"] == like["uri"]
    assert [account["handle"] for account in followers] == ["bob.test"]
    assert left == [own["uri"]]
    paths = [op.path.partition("/")[0] for message in shown for op in message.ops if op.cid is not None]
    assert sorted(paths) == sorted([POST, FOLLOW, LIKE, POST])
    seqs = [message.seq for message in shown]
    assert seqs == sorted(set(seqs))
    assert seqs == [message.seq for message in own_firehose]


async def test_an_answer_holds_the_viewers_writes_up_to_the_rev_that_it_says(cluster: RolesCluster) -> None:
    async with aiohttp.ClientSession() as session:
        carol = await Client(session, cluster["pds"].url).join("carol")
        for number in range(5):
            post = await carol.create(POST, text=str(number))
            async with asyncio.timeout(60):
                said = ""
                while said != post["commit"]["rev"]:  # more than once on a machine that takes a second to write it
                    status, feed, headers = await carol.call("GET", "app.bsky.feed.getTimeline")
                    assert status == 200, feed
                    said = headers.get("Atproto-Repo-Rev", "")
                    assert said <= post["commit"]["rev"]

            # What the answer says it holds, it holds.
            assert post["uri"] in [item["post"]["uri"] for item in feed["feed"]]


async def in_vain(session: aiohttp.ClientSession, roles: list[Role]) -> float:
    """How often these AppViews answered before the views held what was waited for."""
    found = 0.0
    for role in roles:
        async with session.get(f"{role.ops}/metrics") as response:
            lines = (await response.text()).splitlines()
        found += sum(float(line.split()[1]) for line in lines if line.startswith(IN_VAIN))
    return found


async def test_what_an_account_sets_at_one_appview_is_in_the_next_answer_of_each(cluster: RolesCluster) -> None:
    plc = cluster["plc"].addresses["plc"]
    second = await asyncio.to_thread(cluster.role("appview", "-second", plc_url=plc).start)
    appviews = [cluster["appview"], second]
    async with aiohttp.ClientSession() as session:
        frank = await Client(session, cluster["pds"].url).join("frank")
        gina = await Client(session, cluster["pds"].url).join("gina")
        post = await gina.create(POST, text="hello")
        await frank.create(FOLLOW, subject=gina.did)
        await settled(session, cluster)
        direct = [Client(session, role.url) for role in appviews]

        async def ask(client: Client, method: str, nsid: str, **more: Any) -> Json:
            query = {"aud": "did:web:localhost", "lxm": nsid}
            client.token = (await frank.get("com.atproto.server.getServiceAuth", **query))["token"]
            status, body, _ = await client.call(method, nsid, **more)
            assert status == 200, (nsid, body)
            return body

        async def shown() -> list[tuple[list[str], list[str]]]:
            found = []
            for client in direct:
                feed = (await ask(client, "GET", "app.bsky.feed.getTimeline"))["feed"]
                mutes = (await ask(client, "GET", "app.bsky.graph.getMutes"))["mutes"]
                found.append(([item["post"]["uri"] for item in feed], [each["did"] for each in mutes]))
            return found

        seen = set()
        async with asyncio.timeout(120):
            turn = 0
            while len(seen) < 4:  # a call that had to give up waiting says nothing: another round
                client, muted = direct[turn // 2 % 2], turn % 2 == 0
                turn += 1
                before = await in_vain(session, appviews)
                nsid = f"app.bsky.graph.{'mute' if muted else 'unmute'}Actor"
                await ask(client, "POST", nsid, json={"actor": gina.did})
                if await in_vain(session, appviews) > before:
                    await settled(session, cluster)
                else:
                    seen.add((client.url, muted))
                assert await shown() == [([], [gina.did]) if muted else ([post["uri"]], [])] * 2
    assert await asyncio.to_thread(second.stop) == 0


async def test_the_appview_believes_service_tokens_alone(cluster: RolesCluster) -> None:
    async with aiohttp.ClientSession() as session:
        dora = await Client(session, cluster["pds"].url).join("dora")
        nsid = "app.bsky.feed.getTimeline"
        query = {"aud": "did:web:localhost", "lxm": nsid}
        token = (await dora.get("com.atproto.server.getServiceAuth", **query))["token"]
        stranger = Client(session, cluster["appview"].url)

        without = await stranger.call("GET", nsid)
        stranger.token = dora.token
        with_a_session = await stranger.call("GET", nsid)
        stranger.token = token
        with_a_token = await stranger.call("GET", nsid)
        stranger.token = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
        forged = await stranger.call("GET", nsid)

    assert [answer[0] for answer in (without, with_a_session, with_a_token, forged)] == [401, 401, 200, 401]
    assert forged[1]["error"] == "BadJwtSignature"


async def test_an_image_is_where_its_account_lives(cluster: RolesCluster) -> None:
    async with aiohttp.ClientSession() as session:
        erin = await Client(session, cluster["pds"].url).join("erin")
        image = b"\x89PNG\r\n\x1a\n" + bytes(100)
        headers = {"Content-Type": "image/png"}
        _, uploaded, _ = await erin.call("POST", "com.atproto.repo.uploadBlob", data=image, headers=headers)
        profile = {"$type": "app.bsky.actor.profile", "avatar": uploaded["blob"]}
        body = {"repo": erin.did, "collection": "app.bsky.actor.profile", "rkey": "self", "record": profile}
        await erin.post("com.atproto.repo.putRecord", body)
        shown = (await erin.get("app.bsky.actor.getProfile", actor=erin.did))["avatar"]

        async with session.get(shown) as response:
            found = await response.read()

    assert shown.startswith(cluster["appview"].url.replace("127.0.0.1", "localhost"))
    assert (response.status, found) == (200, image)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("derive",), 2, ("kafka_servers", "found nothing", "HEADRACE_KAFKA_SERVERS")),
        (("process", "--set", "kafka_servers=127.0.0.1:1"), 2, ("cql_hosts", "found nothing")),
        (("appview", "--set", "cql_hosts=127.0.0.1"), 2, ("plc_url", "found nothing")),
        (("firehose", "--set", "kafka_servers=127.0.0.1:1"), 1, ("127.0.0.1:1", "found none that answers")),
        (("topics", "check", "--set", "kafka_servers=nobroker"), 2, ("expected host:port", "nobroker")),
        (("schema", "check", "--set", "cql_hosts=127.0.0.1", "--set", "cql_port=1"), 1, ("no CQL store answers",)),
        (("schema", "check", "--set", "cql_hosts=a", "--set", "cql_password_file=/none"), 2, ("cql_password_file",)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_what_a_role_cannot_do_without_is_refused_with_the_cure(
    arguments: tuple[str, ...], code: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    done = headrace(*arguments, HEADRACE_DATA=str(tmp_path / "data"), HEADRACE_OPS_PORT="0", HEADRACE_PORT="0")

    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_generation_that_is_not_there_and_topics_of_another_shape_are_refused(cluster: RolesCluster) -> None:
    known = [f"--set={name}={value}" for name, value in cluster.settings.items()]

    there = headrace("topics", "check", *known)
    other = headrace("topics", "check", *known, "--set", "shards=3")
    absent = headrace("schema", "check", *known, "--set", "generation=nine")

    assert there.returncode == 0, there.stderr
    assert (other.returncode, absent.returncode) == (1, 1)
    assert "has 2 partitions, expected 3" in other.stderr
    assert f"{cluster.settings['cql_keyspace']}_nine" in absent.stderr


def test_a_second_pds_may_not_hand_out_the_firsts_handles(cluster: RolesCluster) -> None:
    plc = cluster["plc"].addresses["plc"]
    second = cluster.role("pds", "2", plc_url=plc, pds_name="second").begin()

    assert second.wait() == 1
    assert "handle_domains" in second.tail()


def test_the_python_sdk_lives_a_whole_story(cluster: RolesCluster, vectors: Callable[[str], Path]) -> None:
    image = vectors("bluesky-social/atproto/packages/dev-env/assets/key-portrait-small.jpg")
    story = Path(__file__).parents[1] / "e2e" / "python" / "story.py"
    where = (
        cluster["pds"].url,
        str(image),
        cluster["plc"].addresses["plc"],
        cluster["process"].ops,
        cluster["appview"].ops,
    )

    done = subprocess.run(
        [sys.executable, str(story), *where], capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert sum(line.startswith("ok ") for line in done.stdout.splitlines()) == STEPS_PYTHON


async def test_a_post_of_a_crawled_account_is_shown(cluster: RolesCluster) -> None:
    """It lives elsewhere, and goes from a relay through derive, processors and store to an AppView."""
    people = People()
    async with Host(people) as elsewhere, served(people) as plc, aiohttp.ClientSession() as session:
        stranger = elsewhere.add(1)
        relay = Role(
            "relay",
            cluster.directory / "relay",
            {**cluster.settings, "plc_url": plc, "relay_port": "0", "relay_crawl": elsewhere.name},
        )
        try:
            await asyncio.to_thread(relay.start)
            path = f"{POST}/{tid_from_micros(START, 1)}"
            await elsewhere.say(stranger.commit((path, written("from elsewhere"))))
            firehose = await commit_of(session, cluster["firehose"].url, stranger.did)
            await settled(session, cluster)
            reader = Client(session, cluster["appview"].url)
            shown = (await reader.get("app.bsky.feed.getPosts", uris=f"at://{stranger.did}/{path}"))["posts"]
            assert await asyncio.to_thread(relay.stop) == 0
        finally:
            relay.kill()

    assert shown[0]["author"]["did"] == stranger.did
    assert shown[0]["record"]["text"] == "from elsewhere"
    assert firehose.rev == stranger.rev


def test_a_relay_does_not_read_the_clusters_own_pds(cluster: RolesCluster) -> None:
    own = cluster["pds"].url.removeprefix("http://").replace("127.0.0.1", "localhost")
    settings = {**cluster.settings, "plc_url": "http://127.0.0.1:1", "relay_port": "0", "relay_crawl": own}
    relay = Role("relay", cluster.directory / "relay-own", settings).begin()

    assert relay.wait() == 2
    assert f"{own} is this server" in relay.tail()


def test_every_role_ends_when_it_is_told_to(cluster: RolesCluster) -> None:
    codes = cluster.stop()

    assert codes == dict.fromkeys(("plc", "derive", "process", "appview", "firehose", "pds"), 0)
    assert "Traceback" not in "".join(role.log.read_text() for role in cluster.roles.values() if role.name != "pds2")
