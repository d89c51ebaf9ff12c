"""Account files follow the log: replayed after a stop in between, rebuilt when lost, never ahead."""

from __future__ import annotations

from itertools import count

import pytest

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.log_sqlite.index import SqliteIndex
from ingest.pds.account_file import AccountFile
from ingest.pds.writes import Write
from schemas.errors import InvariantError, XrpcError
from tests.support.pds_world import PASSWORD, POST, World, joined, key, pieces

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(100)


@pytest.fixture
async def world(tmp_path):
    world = await World(tmp_path, shards=2).open()
    yield world
    await world.close()


async def fall_over(world) -> None:
    """Stop without flushing a thing, as a crash does; then start again."""

    async def nothing() -> None:
        return

    heads = world.pds._parts.heads
    heads.flush_all = nothing
    heads.save_checkpoints = nothing
    await world.restart()


async def scribble(world, did: str, count: int = 30) -> None:
    """Creates, updates and deletes, so that nodes and records come and go."""
    await world.pds.apply_writes(did, [Write("create", POST, key(n), world.record(str(n))) for n in range(count)])
    for n in range(0, count, 3):
        await world.pds.apply_writes(did, [Write("update", POST, key(n), world.record(f"new {n}"))])
    for n in range(0, count, 5):
        await world.pds.apply_writes(did, [Write("delete", POST, key(n))])


def contents(path) -> dict[str, set]:
    file = AccountFile(path)
    try:
        return {
            table: set(file._db.execute(f"SELECT {columns} FROM {table}").fetchall())
            for table, columns in (("nodes", "cid, block"), ("records", "path, cid, value"), ("blob_refs", "cid, path"))
        }
    finally:
        file.close()


async def test_what_a_crash_kept_from_the_files_is_replayed(world):
    dids = [(await world.account()).did for _ in range(4)]
    for did in dids:
        await scribble(world, did)
    before = {did: await joined(await world.pds.sync.repo_car(did)) for did in dids[:1]}

    await fall_over(world)

    assert world.pds._parts.replay.replayed > 0
    for did in dids:
        root = world.pds._parts.files.open(did).root()
        assert root.cid == world.log.head(did).commit
        assert len(world.check_repo(did)) == 24
    assert len(await joined(await world.pds.sync.repo_car(dids[0]))) == len(before[dids[0]])
    assert (await world.post(dids[0])).commit is not None


async def test_a_replayed_file_a_rebuilt_one_and_one_never_interrupted_hold_the_same(world):
    did = (await world.account()).did
    await scribble(world, did)
    await world.pds._parts.heads.flush_all()
    blob = await world.pds.upload_blob(did, pieces(PNG), "image/png")
    shown = {"$type": "blob", "ref": blob.cid, "mimeType": blob.mime, "size": blob.size}
    embed = {"$type": "app.bsky.embed.images", "images": [{"image": shown, "alt": ""}]}
    await world.pds.apply_writes(did, [Write("create", POST, key(90), world.record(embed=embed))])
    await scribble_more(world, did)

    await fall_over(world)
    path = world.file(did)
    await world.close()
    replayed = contents(path)
    for side in path.parent.glob(path.name + "*"):
        side.unlink()
    await world.open()
    await world.pds.list_records(did, POST)
    await world.close()
    rebuilt = contents(path)
    await world.open()

    assert replayed == rebuilt
    assert len(rebuilt["records"]) == len(world.check_repo(did))
    assert rebuilt["blob_refs"] == {(blob.cid.raw, f"{POST}/{key(90)}")}


async def scribble_more(world, did: str) -> None:
    for n in range(100, 140):
        await world.post(did, str(n), key(n))
    await world.pds._parts.heads.flush_all()
    for n in range(100, 140, 2):
        await world.pds.apply_writes(did, [Write("delete", POST, key(n))])


async def test_a_file_holds_no_node_that_its_tree_does_not(world):
    did = (await world.account()).did
    for _ in range(5):
        for n in range(40):
            await world.pds.apply_writes(did, [Write("put", POST, key(n), world.record(str(world.now)))])
        await world.pds._parts.heads.flush_all()
        await world.pds.apply_writes(did, [Write("delete", POST, key(n)) for n in range(0, 40, 2)])
        await world.pds._parts.heads.flush_all()

    head = await world.pds._parts.heads.get(did)
    reachable, waiting = set(), [head.tree.root()]
    while waiting:
        node = waiting.pop()
        reachable.add(node.cid)
        waiting += [kid for i in range(len(node.kids)) if (kid := head.tree.kid(node, i)) is not None]
    stored = {cid for (cid,) in head.file._db.execute("SELECT cid FROM nodes")}

    assert stored == reachable


async def test_a_file_that_is_behind_by_a_power_cut_is_rebuilt(world):
    did = (await world.account()).did
    await scribble(world, did)
    await world.pds._parts.heads.flush_all()
    await world.close()
    path = world.directory / "accounts"
    old = {file: file.read_bytes() for file in path.rglob("*.sqlite*")}
    await world.open()
    await world.post(did, "after the copy", key(99))
    await world.close()
    for file, content in old.items():
        file.write_bytes(content)
    await world.open()

    listed, _ = await world.pds.list_records(did, POST, limit=1)

    assert [view.uri.rkey for view in listed] == [key(99)]
    assert (await world.post(did)).commit is not None


async def test_records_that_do_not_make_the_signed_root_stop_the_account_alone(world, monkeypatch):
    did, other = (await world.account()).did, (await world.account()).did
    await scribble(world, did)
    await world.post(other, "unharmed")
    await world.close()
    for side in (world.directory / "accounts").rglob("*.sqlite*"):
        side.unlink()
    honest = SqliteIndex.record

    def lying(index, who, path):
        cid, value, first = honest(index, who, path)
        return (type(cid)(cid.raw[:-1] + b"\x00") if who == did else cid, value, first)

    with monkeypatch.context() as patched:
        patched.setattr(SqliteIndex, "record", lying)
        await world.open()
        with pytest.raises(InvariantError, match="signed head"):
            await world.pds.list_records(did, POST)
        assert len((await world.pds.list_records(other, POST))[0]) == 1
    listed, _ = await world.pds.list_records(did, POST, limit=100)

    assert len(listed) == 24


async def test_states_that_a_crash_kept_from_the_rows_come_from_the_log(world, monkeypatch):
    alice, bob, carol, dave = [(await world.account(name)).did for name in ("alice", "bob", "carol", "dave")]

    class DiedError(Exception):
        pass

    async def die(*args, **kwargs):  # noqa: ARG001
        raise DiedError

    accounts = world.pds._parts.accounts
    monkeypatch.setattr(accounts, "update", die)
    monkeypatch.setattr(accounts, "set_takedown", die)
    monkeypatch.setattr(accounts, "remove", die)
    for call in (
        world.pds.deactivate_account(alice),
        world.pds.takedowns.take_down(bob, "case 1"),
        world.pds.update_handle(carol, "carola.test"),
        world.pds._parts.lifecycle.delete(dave),
    ):
        with pytest.raises(DiedError):
            await call
    monkeypatch.undo()
    await fall_over(world)

    assert (await world.pds.get_session(alice)).status == "deactivated"
    assert world.pds.takedowns.takedown(bob).reference == "case 1"
    assert (await world.pds.get_session(carol)).handle == "carola.test"
    assert not world.pds.hosts(dave)
    assert (await world.account("dave")).did != dave


async def test_a_checkpoint_never_passes_a_commit_that_is_not_in_its_file(world):
    busy, idle = (await world.account()).did, (await world.account()).did
    await world.pds._parts.heads.flush_all()
    await world.post(busy)
    first = (await world.pds._parts.heads.get(busy)).overlay.first
    for _ in range(10):
        await world.post(idle)
    await world.pds._parts.heads.flush(await world.pds._parts.heads.get(idle))

    held = world.pds.checkpoints()
    await world.pds._parts.heads.flush_all()
    free = world.pds.checkpoints()

    ends = [world.log.commits_end(shard) for shard in range(2)]
    assert first - 1 in held.values()
    assert sorted(free.values()) == sorted(end for end in ends if end)


async def test_more_accounts_than_files_may_be_open_all_work(tmp_path):
    world = await World(tmp_path, {"open_files": 8, "heads": 10}).open()
    dids = [(await world.account()).did for _ in range(30)]
    for _ in range(2):
        for did in dids:
            await world.post(did)
        await world.pds._parts.heads.flush_all()
    assert len(world.pds._parts.files._open) == 8
    assert len(world.pds._parts.heads._heads) == 10
    for did in dids:
        assert len((await world.pds.list_records(did, POST))[0]) == 2
    await world.close()


async def test_a_large_tree_is_dropped_to_its_root_after_a_flush_and_goes_on(tmp_path):
    world = await World(tmp_path, {"nodes_per_head": 10}).open()
    did = (await world.account()).did
    await world.pds.apply_writes(did, [Write("create", POST, key(n), world.record(str(n))) for n in range(200)])
    await world.pds._parts.heads.flush_all()
    loaded = (await world.pds._parts.heads.get(did)).tree.loaded

    await world.post(did, "more", key(500))

    assert loaded == 0
    assert len(world.check_repo(did)) == 201
    await world.close()


async def test_loaded_nodes_stay_within_their_bound_where_every_account_is_written_all_the_time(tmp_path):
    world = await World(tmp_path, {"nodes": 60}).open()
    heads = world.pds._parts.heads
    dids = [(await world.account()).did for _ in range(6)]
    for did in dids:
        await world.pds.apply_writes(did, [Write("create", POST, key(n), world.record(str(n))) for n in range(100)])
    flush, rkeys = heads.flush, count(100)

    async def flush_and_write(head):
        await flush(head)
        await world.post(head.did, "again", key(next(rkeys)))  # before the round ends: no head is idle then

    heads.flush = flush_and_write
    for _ in range(20):
        await heads.flush_all()
    heads.flush = flush

    busy = [head for head in heads._heads.values() if head.overlay is not None]
    assert len(busy) == 6
    one_write = 20  # nodes that a write loads and makes at most
    assert sum(head.tree.loaded for head in busy) <= 60 + 6 * one_write
    for did in dids:
        assert len(world.check_repo(did)) == 120
    await world.close()


async def test_loaded_nodes_of_all_accounts_stay_within_their_bound(tmp_path):
    world = await World(tmp_path, {"nodes": 60}).open()
    dids = [(await world.account()).did for _ in range(6)]
    for did in dids:
        await world.pds.apply_writes(did, [Write("create", POST, key(n), world.record(str(n))) for n in range(100)])
    before = sum(head.tree.loaded for head in world.pds._parts.heads._heads.values())

    await world.pds._parts.heads.flush_all()

    loaded = [head.tree.loaded for head in world.pds._parts.heads._heads.values()]
    assert before > 100
    assert sum(loaded) <= 60
    assert loaded[-1] > 0
    for did in dids:
        await world.post(did)
        assert len(world.check_repo(did)) == 101
    await world.close()


async def test_nothing_is_served_of_an_account_that_is_closed_without_reading_it_back(world):
    did = (await world.account()).did
    await world.post(did, "one", key(1))
    head = await world.pds._parts.heads.get(did)
    world.pds._parts.heads.close_account(head)

    again = await world.pds._parts.heads.get(did)

    assert again is not head
    assert again.root.cid == world.log.head(did).commit
    with pytest.raises(XrpcError, match="RecordNotFound"):
        await world.pds.get_record(did, POST, key(2))


async def test_a_half_made_account_waits_for_the_directory_and_is_then_finished_or_removed(world, monkeypatch):
    class DiedError(Exception):
        pass

    async def die(*args, **kwargs):  # noqa: ARG001
        raise DiedError

    async def silent(did):
        raise IdentityRefused(IdentityReason.TIMEOUT, did)

    with monkeypatch.context() as patch:
        patch.setattr(world.pds._parts.creation, "_finish", die)
        with pytest.raises(DiedError):
            await world.account("alice")
    creation = world.pds._parts.creation
    row = world.pds._parts.accounts.pending()[0]
    with monkeypatch.context() as patch:
        patch.setattr(world.plc, "last", silent)
        left = await creation.settle_pending()
    taken = None
    try:
        await world.account("alice", email="other@example.com")
    except XrpcError as error:
        taken = error.name
    hidden = world.pds.hosts(row.did)
    finished = await creation.settle_pending()

    assert (left, taken, hidden) == (1, "HandleNotAvailable", False)
    assert finished == 0
    assert (await world.pds.create_session("alice.test", PASSWORD)).did == row.did
    assert (await world.post(row.did)).commit is not None
