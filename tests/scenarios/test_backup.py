"""Backups of a network: made while it is written to, brought back elsewhere, and refused when anything is wrong."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import fields
from itertools import count

import apsw
import orjson
import pytest

from headrace.backup import seal
from headrace.backup.blobs import HeldBlobs, is_whole
from headrace.backup.contents import DATABASES, SECRETS, strangers
from headrace.backup.create import create
from headrace.backup.instant import fixed
from headrace.backup.reading import verify
from headrace.backup.refusals import BackupRefused, Reason
from headrace.backup.restore import restore
from ingest.repo.frame import decode_frame
from ingest.repo.messages import SyncMessage
from tests.oracle.compare import Comparison, Watch
from tests.support.http_network import PASSWORD, QUICK, HttpNetwork
from tests.support.random_network import POST, Habits, RandomNetwork, Write, key

ACCOUNTS = 3
HABITS = Habits(leave=0, again=0, diff=0, media=False, status=0)
OPERATING = Habits(
    **{each.name: 0 for each in fields(Habits) if each.name not in ("media", "shared", "operate")}, operate=1
)
KEY = b"k" * 32


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "headrace", *map(str, words)],
        capture_output=True,
        check=False,
        timeout=240,
        env={**os.environ, **environment},
    )


def quiet(_line):
    pass


async def backed_up(network, file, *more):
    """`headrace backup create` beside the network; its answer."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "headrace", "backup", "create", str(file), "--data", str(network.network.data), "--json", *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    return orjson.loads(said)


async def post_with_picture(network, did, rkey, content):
    blob = await network.picture(did, content)
    embed = {"$type": "app.bsky.embed.images", "images": [{"image": blob, "alt": ""}]}
    post = {"$type": POST, "text": rkey, "createdAt": "2026-01-01T00:00:00Z", "embed": embed}
    await network.do(Write(did, ((f"{POST}/{rkey}", post),)))
    network.blobs[did, blob["ref"]["$link"]] = content


async def write_on(network, did, numbers, stop):
    """Posts, posts with pictures, and pictures whose post goes again, so that blobs are collected meanwhile."""
    done = 0
    while not stop.is_set():
        number = next(numbers)
        post = {"$type": POST, "text": "more", "createdAt": "2026-01-01T00:00:00Z"}
        await network.do(Write(did, ((f"{POST}/{key(5_000 + 2 * number)}", post),)))
        rkey = key(5_001 + 2 * number)
        await post_with_picture(network, did, rkey, b"\x89PNG\r\n\x1a\n" + number.to_bytes(8, "big") * 100)
        if number % 2:
            await network.do(Write(did, ((f"{POST}/{rkey}", None),)))
        done += 1
    return done


async def read_firehose(network, cursor, enough):
    """The frames after `cursor`, until `enough` says so of those so far."""
    url = f"{network.network.url}/xrpc/com.atproto.sync.subscribeRepos?cursor={cursor}"
    found = []
    async with network.session.ws_connect(url) as socket, asyncio.timeout(60):
        while not enough(found):
            found.append(decode_frame(await socket.receive_bytes()))
    return found


def said_by_log(network, did):
    """The account's records by path, as the log of a process says they are now, and the rev of its head."""
    connection = apsw.Connection(str(network.network.data / "log.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(10_000)
    try:
        heads = connection.execute("SELECT account, rev FROM heads WHERE did=?", (did,)).fetchall()
        if not heads:
            return None, {}
        ((account, rev),) = heads
        sql = "SELECT i.path, r.cid FROM repo_index i JOIN records r ON r.id = i.at WHERE i.account=?"
        return rev, dict(connection.execute(sql, (account,)).fetchall())
    finally:
        connection.close()


async def has_followed(crawler, network, did):
    """Return once the crawler's log says of an account what the host's says; every look asks the crawler."""
    async with asyncio.timeout(90):
        while said_by_log(crawler, did) != said_by_log(network, did):
            async with network.session.get(f"{crawler.network.ops_url}/status") as response:
                await response.read()


async def log_in_again(network):
    """With the passwords; tokens of before are no more than tokens."""
    for number, did in enumerate(network.dids):
        known = {"identifier": f"name{number}.test", "password": PASSWORD}
        status, body = await network.call("POST", "com.atproto.server.createSession", json=known)
        assert (status, body.get("did")) == (200, did), body
        network.tokens[did] = body["accessJwt"]


@pytest.mark.timeout(900)
async def test_what_was_acknowledged_before_a_backup_is_there_after_it_and_relays_go_on(tmp_path):
    async with HttpNetwork(tmp_path, shards=2) as network, HttpNetwork(tmp_path / "crawler") as crawler:
        (tmp_path / "crawler").mkdir()
        network.start()
        crawler.network.settings = QUICK | {"plc_url": network.network.plc_url, "allow_private_addresses": "true"}
        crawler.network.flags = ("--crawl", f"localhost:{network.network.url.rpartition(':')[2]}")
        crawler.start()
        for number in range(ACCOUNTS):
            await network.join(number)
        first = network.dids[0]
        people = RandomNetwork(random.Random(11), network.dids, lambda: time.time_ns() // 1000, HABITS)
        await network.do_all(people.steps(60))
        people.habits = OPERATING
        await network.do_all(people.steps(30))
        for number, did in enumerate(network.dids):
            await post_with_picture(network, did, key(4_000), b"\x89PNG\r\n\x1a\n" + bytes((number,)) * 700)
        kept, blobs = dict(network.kept), dict(network.blobs)
        assert {kind for (_, kind, _), value in network.own.values.items() if value is not None} >= {"mute", "bookmark"}

        stop, numbers = asyncio.Event(), count()
        writers = [asyncio.create_task(write_on(network, did, numbers, stop)) for did in network.dids]
        made = await backed_up(network, tmp_path / "backup", "--key-file", str(a_key(tmp_path)))
        stop.set()
        wrote = await asyncio.gather(*writers)
        post = {"$type": POST, "text": "lost", "createdAt": "2026-01-01T00:00:00Z"}
        await network.do_all(Write(did, ((f"{POST}/{key(9_000)}", post),)) for did in network.dids)
        assert min(wrote) > 0
        for did in network.dids:
            await has_followed(crawler, network, did)
        async with network.session.get(f"{network.network.ops_url}/status") as response:
            served = (await response.json())["firehose"]["newest_seq"]
        seen = await read_firehose(network, 0, lambda found: found and found[-1].seq == served)
        revs = {
            did: max(frame.rev for frame in seen if getattr(frame, "did", None) == did and hasattr(frame, "rev"))
            for did in network.dids
        }
        network.network.kill()

        old, network.network.data = network.network.data, tmp_path / "elsewhere"
        said = command(
            "restore", tmp_path / "backup", "--data", network.network.data, "--json", "--key-file", a_key(tmp_path)
        )
        assert said.returncode == 0, said.stderr
        restored = orjson.loads(said.stdout)
        network.start()
        await network.settled()
        model = network.read()
        found = {uri: record.cid for uri, record in model.records.items()}

        # All that was acknowledged before is there; what came meanwhile is there or not; nothing else is.
        assert {uri: found.get(uri) for uri in kept} == kept
        assert not any(uri.endswith(key(9_000)) for uri in found)
        assert made["seq"] < served < restored["next_seq"]
        network.own.check(model)
        network.kept = dict(found)
        await network.reads_back(model)
        for (did, cid), content in blobs.items():
            status, body = await network.call("GET", "com.atproto.sync.getBlob", params={"did": did, "cid": cid})
            assert (status, body["body"]) == (200, content)
        await log_in_again(network)
        for did in network.dids:
            status, missing = await network.call("GET", "com.atproto.repo.listMissingBlobs", did)
            assert (status, missing["blobs"]) == (200, [])
        watch = Watch()
        context = "after the restore"
        await Comparison(model, network, network.dids, random.Random(1), watch=watch, context=context).everything(
            [None, *network.dids]
        )
        for endpoint in ("getPosts", "getMutes", "getBookmarks"):
            assert watch.counts[f"{endpoint} with something"], endpoint

        # Every repo is announced above all that subscribers have, once, and the crawler takes what is there now.
        syncs = await read_firehose(network, served, lambda found: len(found) == ACCOUNTS)
        assert syncs_of(syncs) == syncs
        assert {frame.did for frame in syncs} == set(network.dids)
        assert all(frame.rev > revs[frame.did] and frame.seq >= restored["next_seq"] for frame in syncs)
        for did in network.dids:
            await has_followed(crawler, network, did)
        # Writes go on, on one chain.
        people.posts = [uri for uri in network.kept if f"/{POST}/" in uri]
        await network.do_all(people.steps(40))
        await post_with_picture(network, first, key(9_100), b"\x89PNG\r\n\x1a\n" + b"after" * 50)
        await network.settled()
        model = network.read()
        assert {uri: record.cid for uri, record in model.records.items()} == network.kept
        await has_followed(crawler, network, first)
        assert network.network.stop() == 0
        assert crawler.network.stop() == 0
        assert names_unknown(network.network.data) == names_unknown(old) == []


def a_key(directory):
    path = directory / "key"
    path.write_bytes(KEY + b"\n")
    return path


@pytest.fixture
async def resting(tmp_path):
    """A directory of a network with a blob, at rest."""
    async with HttpNetwork(tmp_path) as network:
        network.start()
        await network.join(0)
        await post_with_picture(network, network.dids[0], key(1), b"\x89PNG\r\n\x1a\n" + b"picture" * 900)
        assert network.network.stop() == 0
        yield network


def names_unknown(directory):
    return strangers(path.name for path in directory.iterdir())


def everything_of(directory):
    """By name, what a restored directory must have of another: bytes, but not of databases, which are mended."""
    files = (path for path in directory.rglob("*") if path.is_file())
    names = {str(path.relative_to(directory)): path.read_bytes() for path in files}
    return {
        name: None if name in DATABASES else data for name, data in names.items() if name not in ("lock", "restored")
    }


async def test_a_backup_holds_what_is_not_computed_again_and_nothing_else(resting, tmp_path):
    data, into = resting.network.data, tmp_path / "into"
    (data / "views.g7.sqlite").touch()
    (data / "notes.txt").touch()
    lines = []

    made = create(data, tmp_path / "backup", None, lines.append)
    restored = restore(tmp_path / "backup", into, None)

    kept = {*SECRETS, "log.sqlite", "accounts.sqlite", "plc.sqlite", "generations.sqlite"}
    source, target = everything_of(data), everything_of(into)
    blobs = {name for name in source if name.startswith("blobs/")}
    assert set(made["files"]) == kept
    assert set(target) == kept | blobs
    assert (made["blobs"], len(blobs), made["blobs_missing"]) == (1, 1, 0)
    assert {name: source[name] for name in target} == target
    assert [line for line in lines if "left out" in line] == ["notes.txt is left out: it is none of headrace's files"]
    assert restored["next_seq"] > made["seq"]
    for path in (tmp_path / "backup", *into.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert not (data / "backup.tmp").exists()


@pytest.mark.parametrize("key_", [None, KEY], ids=["plain", "encrypted"])
async def test_a_backup_with_any_byte_changed_or_cut_off_is_refused(resting, tmp_path, key_):
    file, into = tmp_path / "backup", tmp_path / "into"
    create(resting.network.data, file, key_, quiet)
    whole = file.read_bytes()
    verify(file, key_)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    places = {*range(0, 120, 3), *range(len(whole) - 40, len(whole), 3), *dice.sample(range(len(whole)), 60)}
    if key_ is None:  # every kind of member, where it is
        places |= {whole.index(word) for word in (b"SQLite format", b"picture", b'"blob_bytes"', b"jwt_secret")}

    named_ = []
    for place in sorted(places):
        file.write_bytes(whole[:place] + bytes((whole[place] ^ 1 << dice.randrange(8),)) + whole[place + 1 :])
        with pytest.raises(BackupRefused) as refused:
            verify(file, key_)
        assert str(file) in refused.value.detail
        named_.append(refused.value.detail)
    for length in (0, 10, 40, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(BackupRefused):
            verify(file, key_)
    with pytest.raises(BackupRefused):
        restore(file, into, key_)

    if key_ is None:
        assert any("blobs/" in detail and "its content is not" in detail for detail in named_)
        assert any(".sqlite: expected" in detail for detail in named_)
    assert not any(into.glob("*.sqlite"))
    assert not (into / "restoring").exists()


async def test_what_cannot_be_backed_up_or_restored_is_refused_with_the_cure(resting, tmp_path):
    data, file, into = resting.network.data, tmp_path / "backup", tmp_path / "into"
    create(data, file, KEY, quiet)

    def refusal(work, *arguments):
        with pytest.raises(BackupRefused) as refused:
            work(*arguments)
        return refused.value.reason, refused.value.detail

    assert refusal(create, data, file, None, quiet)[0] is Reason.TARGET
    (tmp_path / "nothing").mkdir()
    assert refusal(create, tmp_path / "nothing", tmp_path / "b", None, quiet)[0] is Reason.SOURCE
    assert "--key-file" in refusal(verify, file, None)[1]
    assert refusal(verify, file, b"another" * 6)[0] is Reason.KEY
    assert "expected an empty directory" in refusal(restore, file, data, KEY)[1]
    newer = tmp_path / "newer"
    newer.write_bytes(file.read_bytes().replace(b"headrace-backup 1\n", b"headrace-backup 2\n"))
    assert "use the version that made it" in refusal(verify, newer, KEY)[1]
    (tmp_path / "short").write_text("0123")
    assert "openssl rand" in refusal(seal.read_key, tmp_path / "short")[1]

    (tmp_path / "file").touch()
    for words, code in (
        (("restore", file, "--data", data, "--key-file", a_key(tmp_path)), 3),
        (("restore", file, "--data", tmp_path / "file", "--key-file", a_key(tmp_path)), 2),
        (("backup", "verify", tmp_path / "absent"), 1),
        (("backup", "create", tmp_path / "no" / "b", "--data", data), 1),
    ):
        ended = command(*words)
        assert (ended.returncode, ended.stderr[:10]) == (code, b"headrace: "), ended.stderr
    assert not into.exists()


async def test_a_blob_that_is_gone_from_the_disk_is_said_and_the_rest_is_kept(resting, tmp_path):
    (blob,) = (path for path in (resting.network.data / "blobs").rglob("*") if path.is_file())
    blob.unlink()

    ended = command("backup", "create", tmp_path / "backup", "--data", resting.network.data, "--json")

    assert (ended.returncode, orjson.loads(ended.stdout)["blobs_missing"]) == (1, 1)
    assert blob.name in ended.stderr.decode()
    assert verify(tmp_path / "backup", None).missing == 1


async def test_a_damaged_database_is_not_backed_up(resting, tmp_path):
    path = resting.network.data / "plc.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:8192] = os.urandom(4096)
    path.write_bytes(data)

    ended = command("backup", "create", tmp_path / "backup", "--data", resting.network.data)

    assert ended.returncode == 1
    assert b"plc.sqlite" in ended.stderr
    assert not [*tmp_path.glob("backup*")]


@pytest.mark.timeout(900)
async def test_a_death_on_the_way_leaves_no_backup_and_no_half_restored_network(resting, tmp_path):
    data, file, into = resting.network.data, tmp_path / "backup", tmp_path / "into"

    died = command("backup", "create", file, "--data", data, HEADRACE_CRASH="backup.before_rename:1")
    assert (died.returncode, b"crash: backup.before_rename" in died.stderr) == (-signal.SIGKILL, True)
    assert not file.exists()
    assert command("backup", "create", file, "--data", data).returncode == 0

    died = command("restore", file, "--data", into, HEADRACE_CRASH="restore.mid_move:3")
    assert (died.returncode, b"crash: restore.mid_move" in died.stderr) == (-signal.SIGKILL, True)
    refused = command("up", "--data", into, "--port", 0, "--plc-port", 0, "--ops-port", 0)
    assert (refused.returncode, b"a restore into it did not end" in refused.stderr) == (2, True)
    refused = command("restore", file, "--data", into)
    assert (refused.returncode, b"expected an empty directory" in refused.stderr) == (3, True)

    shutil.rmtree(into)
    into.mkdir()
    (into / "restoring").mkdir()  # of one that died while it wrote
    (into / "restoring" / "log.sqlite").touch()
    assert command("restore", file, "--data", into).returncode == 0
    resting.network.data = into
    with pytest.raises(AssertionError):
        resting.start("pds.mid_announce:1")
    assert resting.said_to_crash("pds.mid_announce")
    resting.start()
    await resting.settled()
    frames = await read_firehose(resting, 0, lambda found: len(syncs_of(found)) == 2)
    assert len({frame.rev for frame in syncs_of(frames)}) == 2
    assert not (into / "restored").exists()
    await log_in_again(resting)
    await post_with_picture(resting, resting.dids[0], key(2), b"\x89PNG\r\n\x1a\n" + b"again" * 50)
    assert len(resting.read().records) == 2


def syncs_of(frames):
    return [frame for frame in frames if isinstance(frame, SyncMessage)]


async def picture_in_a_post(house, member, content):
    """(the blob's CID, the post's key)."""
    headers = {**member.auth, "Content-Type": "image/png"}
    blob = (await house.post("com.atproto.repo.uploadBlob", data=content, headers=headers)).body["blob"]
    embed = {"$type": "app.bsky.embed.images", "images": [{"image": blob, "alt": ""}]}
    said = await house.say(member, "look", embed=embed)
    return blob["ref"]["$link"], said["uri"].rpartition("/")[2]


async def take_back(house, member, cid, rkey):
    """Delete the post, and return once its picture is collected."""
    body = {"repo": member.did, "collection": POST, "rkey": rkey}
    assert (await house.post("com.atproto.repo.deleteRecord", body, member.auth)).status == 200
    async with asyncio.timeout(60):
        while (await house.get("com.atproto.sync.getBlob", did=member.did, cid=cid)).status == 200:
            house.network.pds._heads.dropped.set()
            for head in [*house.network.pds._heads._heads.values()]:
                await house.network.pds._heads.flush(head)


async def test_every_blob_of_the_instant_is_held_whatever_comes_and_goes_around_it(house, tmp_path):
    alice, data = await house.join("alice"), house.settings.data
    gone, gone_post = await picture_in_a_post(house, alice, b"\x89PNG\r\n\x1a\n" + b"gone before" * 40)
    stays, _ = await picture_in_a_post(house, alice, b"\x89PNG\r\n\x1a\n" + b"stays" * 40)
    held = HeldBlobs(data / "blobs", tmp_path / "held")

    held.link()
    await take_back(house, alice, gone, gone_post)
    came, came_post = await picture_in_a_post(house, alice, b"\x89PNG\r\n\x1a\n" + b"came between" * 40)
    since = int(time.time()) - 60
    with fixed(
        data, ("log.sqlite", "accounts.sqlite"), ("accounts.sqlite",), lambda instant: held.link_since(instant, since)
    ) as instant:
        await take_back(house, alice, came, came_post)
        paths = [path for _, _, path in held.all(instant)]
        for name in instant.names:
            instant.copy(name, tmp_path / name)

    assert {path.name for path in paths} == {stays, came}
    assert all(map(is_whole, paths))
    (blobs,) = (path for path in (data / "blobs").iterdir() if path.name != "incoming")
    assert [path.name for path in blobs.rglob("*") if path.is_file()] == [stays]
