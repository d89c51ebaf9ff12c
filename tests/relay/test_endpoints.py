"""What a relay answers of hosts and accounts that live elsewhere, and what its operator may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from ingest.relay.admission import Admission
from ingest.relay.parts import RelaySettings
from ingest.repo.frame import decode_frame
from tests.relay.listener import Listener, listening
from tests.relay.world.host import Host
from tests.relay.world.people import People, did_of
from tests.relay.world.relay import World, until


@dataclass
class Scene:
    """Three accounts of one host, five commits each, in the relay."""

    host: Host
    world: World
    relay: Listener


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 4)]
        await host.say(*(member.write() for _ in range(5) for member in members))
        async with World(tmp_path, people, crawl=(host.name,)) as world, listening(world, tmp_path) as relay:
            await world.taken(host)
            yield Scene(host, world, relay)


async def test_every_accepted_event_of_every_host_is_in_the_firehose(scene: Scene) -> None:
    async with scene.relay.frames() as socket:
        found = [decode_frame(await socket.receive_bytes(timeout=10)) for _ in range(15)]

    assert [message.seq for message in found] == sorted(message.seq for message in found)
    by_account = {member.did: member.rev for member in scene.host.members.values()}
    assert {message.did: message.rev for message in found} == by_account


async def test_hosts_are_listed_page_by_page_and_told_one_by_one(scene: Scene) -> None:
    async with Host(scene.host.people) as other:
        await scene.world.relay.add_host(other.name)

        first = (await scene.relay.ask("listHosts", limit=1))[1]
        second = (await scene.relay.ask("listHosts", limit=1, cursor=first["cursor"]))[1]
        status, one = await scene.relay.ask("getHostStatus", hostname=scene.host.name)

        assert [host["hostname"] for host in first["hosts"] + second["hosts"]] == [scene.host.name, other.name]
        assert (await scene.relay.ask("listHosts", cursor=second["cursor"]))[1] == {"hosts": []}
        assert status == 200
        assert (one["accountCount"], one["seq"], one["status"]) == (3, scene.host.seq, "active")


async def test_a_host_that_is_not_known_is_said_to_be_none(scene: Scene) -> None:
    status, body = await scene.relay.ask("getHostStatus", hostname="nobody.example.com")

    assert (status, body["error"]) == (400, "HostNotFound")


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 40, "٤"])
async def test_a_cursor_that_is_none_is_refused(scene: Scene, cursor: str) -> None:
    for method in ("listHosts", "listRepos"):
        status, body = await scene.relay.ask(method, cursor=cursor)
        assert (status, body["error"]) == (400, "InvalidRequest")


async def test_accounts_are_listed_with_where_their_repos_stand(scene: Scene) -> None:
    seen: list[dict] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await scene.relay.ask("listRepos", limit=2, **cursor))[1]
        seen += page["repos"]
        if "cursor" not in page:
            break
        cursor = {"cursor": page["cursor"]}

    assert {repo["did"]: (repo["head"], repo["rev"], repo["active"]) for repo in seen} == {
        member.did: (str(member.signed.cid), member.rev, True) for member in scene.host.members.values()
    }
    assert len(seen) == 3


async def test_one_account_is_told_and_its_repo_is_at_its_host(scene: Scene) -> None:
    member = scene.host.members[did_of(2)]

    assert await scene.relay.ask("getRepoStatus", did=member.did) == (
        200,
        {"did": member.did, "active": True, "rev": member.rev},
    )
    assert await scene.relay.ask("getLatestCommit", did=member.did) == (
        200,
        {"cid": str(member.signed.cid), "rev": member.rev},
    )
    url = f"{scene.relay.url}/xrpc/com.atproto.sync.getRepo"
    async with scene.relay.session.get(url, params={"did": member.did}, allow_redirects=False) as response:
        assert response.status == 302
        assert response.headers["Location"].startswith(f"{scene.host.url}/xrpc/com.atproto.sync.getRepo?did=did%3Aplc")
    async with scene.relay.session.get(url, params={"did": member.did}) as response:
        assert await response.read() == member.car()


async def test_an_account_that_was_never_seen_is_not_found(scene: Scene) -> None:
    for method in ("getRepoStatus", "getLatestCommit", "getRepo"):
        status, body = await scene.relay.ask(method, did=did_of(99))
        assert (status, body["error"]) == (400, "RepoNotFound"), method


async def test_a_state_that_its_host_set_is_told(scene: Scene) -> None:
    did = did_of(1)
    await scene.host.account(did, "deactivated")
    await scene.world.taken(scene.host)

    assert (await scene.relay.ask("getRepoStatus", did=did))[1] == {
        "did": did,
        "active": False,
        "status": "deactivated",
    }
    for method in ("getLatestCommit", "getRepo"):
        status, body = await scene.relay.ask(method, did=did)
        assert (status, body["error"]) == (400, "RepoDeactivated"), method
    repos = (await scene.relay.ask("listRepos"))[1]["repos"]
    assert next(repo for repo in repos if repo["did"] == did)["status"] == "deactivated"


async def test_a_host_that_asks_to_be_read_is_read(scene: Scene) -> None:
    async with Host(scene.host.people) as other:
        member = other.add(7)
        await other.say(member.write())

        assert await scene.relay.crawl(other.name) == (200, None)
        await scene.world.taken(other)
        assert (await scene.relay.ask("getRepoStatus", did=member.did))[1]["rev"] == member.rev


async def test_a_request_to_crawl_that_cannot_be_met_is_refused_with_its_reason(scene: Scene) -> None:
    own = scene.relay.url.removeprefix("http://")
    for hostname in ("", "not a host", "x" * 3_000, "http://", own):
        status, body = await scene.relay.crawl(hostname)
        assert status == 400, (hostname, body)
        assert body["message"]


async def test_a_banned_domain_may_not_be_crawled_until_the_ban_is_lifted(scene: Scene) -> None:
    ban = {"domain": "127.0.0.1"}
    assert (await scene.relay.admin("subs/banDomain", ban))[0] == 200
    async with Host(scene.host.people) as other:
        status, body = await scene.relay.crawl(other.name)
        assert (status, body["error"]) == (400, "HostBanned")
        assert (await scene.relay.admin("subs/listDomainBans"))[1] == {"banned_domains": ["127.0.0.1"]}
        assert (await scene.relay.admin("subs/unbanDomain", ban))[0] == 200
        assert (await scene.relay.crawl(other.name))[0] == 200


async def test_requests_for_new_hosts_are_switched_off_and_limited_while_it_runs_and_stay_so(scene: Scene) -> None:
    admin = scene.relay.admin
    async with Host(scene.host.people) as one, Host(scene.host.people) as two:
        assert (await admin("subs/setEnabled", {}, enabled="false"))[0] == 200
        assert (await scene.relay.crawl(one.name))[0] == 429
        assert (await scene.relay.crawl(scene.host.name))[0] == 200  # it is known
        assert (await admin("subs/getEnabled"))[1] == {"enabled": False}
        await admin("subs/setEnabled", {"enabled": True})
        await admin("subs/setPerDayLimit", {"limit": 1})
        assert (await scene.relay.crawl(one.name))[0] == 200
        assert (await scene.relay.crawl(two.name))[0] == 429
        assert (await admin("subs/perDayLimit"))[1] == {"limit": 1}
        stored = Admission(scene.world.relay.store, RelaySettings(new_hosts_day=50), lambda: 0).new_hosts

    assert stored == (True, 1)


@pytest.mark.parametrize(
    "path",
    ["pds/list", "subs/getUpstreamConns", "subs/listDomainBans", "subs/getEnabled", "subs/perDayLimit"],
)
async def test_nobody_else_may_read_what_an_operator_may(scene: Scene, path: str) -> None:
    assert (await scene.relay.get(f"/admin/{path}"))[0] == 401
    assert (await scene.relay.admin(path, secret="another"))[0] == 401
    status, _ = await scene.relay.admin(path)
    assert status == 200


@pytest.mark.parametrize(
    "path",
    [
        "pds/requestCrawl",
        "pds/changeLimits",
        "pds/block",
        "pds/unblock",
        "subs/killUpstream",
        "subs/banDomain",
        "subs/unbanDomain",
        "subs/setEnabled",
        "subs/setPerDayLimit",
        "repo/takeDown",
        "repo/reverse",
        "repo/reverseTakedown",
    ],
)
async def test_nobody_else_may_do_what_an_operator_may(scene: Scene, path: str) -> None:
    body = {"host": scene.host.name, "domain": "127.0.0.1", "did": did_of(1)}

    status, _ = await scene.relay.admin(path, body, secret="")
    assert status == 401
    async with scene.relay.session.post(f"{scene.relay.url}/admin/{path}", json=body) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic")
    assert scene.world.relay.host(scene.host.name).status == "active"
    assert scene.world.relay.domain_bans() == []


async def test_a_banned_host_is_not_read_until_it_is_let_in_again(scene: Scene) -> None:
    status, body = await scene.relay.admin("pds/block", {"host": scene.host.name})
    assert (status, body["Status"], body["Blocked"]) == (200, "banned", True)
    await scene.host.say(scene.host.members[did_of(1)].write())
    assert (await scene.relay.crawl(scene.host.name))[1]["error"] == "HostBanned"

    assert (await scene.relay.admin("pds/unblock", {}, host=scene.host.name))[0] == 200
    await scene.world.taken(scene.host)

    assert (await scene.relay.ask("getRepoStatus", did=did_of(1)))[1]["rev"] == scene.host.members[did_of(1)].rev


async def test_limits_that_are_named_change_and_others_stay(scene: Scene) -> None:
    name = scene.host.name
    await scene.relay.admin("pds/changeLimits", {"host": name, "repo_limit": 7, "per_second": 50, "trusted": True})
    await scene.relay.admin("pds/changeLimits", {"host": name, "per_second": None, "per_day": 1_000})

    (listed,) = (await scene.relay.admin("pds/list"))[1]
    assert (listed["Host"], listed["Trusted"], listed["repo_limit"]) == (name, True, 7)
    assert (listed["per_second"], listed["per_hour"], listed["per_day"]) == (None, None, 1_000)


async def test_a_connection_that_is_cut_comes_back_where_it_was(scene: Scene) -> None:
    before = len(scene.host.cursors)

    status, _ = await scene.relay.admin("subs/killUpstream", {}, host=scene.host.name)

    assert status == 200
    await until(lambda: len(scene.host.cursors) > before)
    await scene.host.say(scene.host.members[did_of(1)].write())
    await scene.world.taken(scene.host)
    assert not scene.world.dropped


async def test_an_account_is_taken_down_here_and_let_back(scene: Scene) -> None:
    did = did_of(3)
    async with scene.relay.frames("") as socket:
        status, body = await scene.relay.admin("repo/takeDown", {"did": did})
        assert (status, body) == (200, {"did": did, "status": "takendown"})
        down = decode_frame(await socket.receive_bytes(timeout=10))
        shown = await scene.relay.ask("getRepo", did=did)
        await scene.relay.admin("repo/reverse", {"did": did})
        up = decode_frame(await socket.receive_bytes(timeout=10))

    assert (down.did, down.active, down.status) == (did, False, "takendown")
    assert shown[1]["error"] == "RepoTakendown"
    assert (up.did, up.active) == (did, True)
    assert (await scene.relay.ask("getRepoStatus", did=did))[1]["active"] is True


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("pds/block", {}, 400),
        ("pds/block", {"host": 5}, 400),
        ("pds/block", {"host": "nobody.example.com"}, 404),
        ("pds/changeLimits", {"host": "nobody.example.com"}, 404),
        ("pds/requestCrawl", {"host": "no host at all"}, 400),
        ("pds/requestCrawl", {"host": "x.example.com", "trusted": "perhaps"}, 400),
        ("subs/setEnabled", {}, 400),
        ("subs/setEnabled", {"enabled": "perhaps"}, 400),
        ("subs/setPerDayLimit", {}, 400),
        ("subs/setPerDayLimit", {"limit": -1}, 400),
        ("repo/takeDown", {"did": "nobody"}, 400),
        ("repo/takeDown", {"did": did_of(99)}, 404),
        ("repo/takeDown", ["did"], 400),
    ],
)
async def test_what_an_operator_says_wrongly_is_answered(scene: Scene, path: str, body: object, status: int) -> None:
    found, answer = await scene.relay.admin(path, body)

    assert (found, bool(answer["message"])) == (status, True)


async def test_limits_that_are_no_numbers_are_refused(scene: Scene) -> None:
    for wrong in (-1, 1.5, "many", True, 2**60, []):
        body = {"host": scene.host.name, "per_day": wrong}
        assert (await scene.relay.admin("pds/changeLimits", body))[0] == 400, wrong
    async with scene.relay.session.post(f"{scene.relay.url}/admin/pds/list", data=b"x") as response:
        assert response.status == 405


async def test_health_is_answered_and_a_method_of_a_pds_is_not(scene: Scene) -> None:
    assert (await scene.relay.get("/xrpc/_health"))[0] == 200
    assert (await scene.relay.get("/xrpc/com.atproto.server.describeServer"))[0] == 501


async def test_requests_to_crawl_are_limited_by_address(tmp_path: Path) -> None:
    people = People()
    async with World(tmp_path, people) as world, listening(world, tmp_path, rate_limit_scale=0.05) as relay:
        answers = [(await relay.crawl("not a host"))[0] for _ in range(4)]

    assert answers == [400, 400, 400, 429]


async def test_a_frame_larger_than_a_chunk_is_served_whole(scene: Scene) -> None:
    member = scene.host.members[did_of(1)]
    entry = member.write(100, *((f"com.example.big/{n}", bytes([0x79, 0xFF, 0xFF]) + b"x" * 65_535) for n in range(8)))
    await scene.host.say(entry)
    await scene.world.taken(scene.host)

    async with scene.relay.frames("?cursor=15") as socket:
        message = decode_frame(await socket.receive_bytes(timeout=10))

    assert (message.rev, len(message.ops)) == (entry.rev, 108)
    assert message.tail == entry.tail


async def test_a_relay_is_not_crawled_by_another(scene: Scene, tmp_path: Path) -> None:
    async with (
        World(tmp_path / "other", scene.host.people) as world,
        listening(world, tmp_path / "other") as other,
        scene.relay.frames("") as socket,
    ):
        assert socket._response.headers["Server"].startswith("atproto-relay")
        status, body = await other.crawl(scene.relay.url)

    assert status == 400
    assert body["message"]
    assert world.relay.host(scene.relay.url.removeprefix("http://")) is None


async def test_a_plain_request_for_a_stream_is_told_to_upgrade(scene: Scene) -> None:
    for path in ("/xrpc/com.atproto.sync.subscribeRepos", "/subscribe"):
        async with scene.relay.session.get(f"{scene.relay.url}{path}") as response:
            assert response.status == 426
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await scene.relay.frames("?shard=4/4")
    assert refused.value.status == 400
