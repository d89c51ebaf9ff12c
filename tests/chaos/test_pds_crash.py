"""A PDS killed at every named point, and at random: no acknowledged write is lost, nothing is half-made."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import orjson
import pytest

from schemas import cbor
from schemas.cid import Cid
from schemas.errors import XrpcError
from schemas.syntax import Did
from tests.chaos.pds_worker import SETTINGS, RealTime
from tests.support.pds_world import PASSWORD, joined

ROOT = Path(__file__).resolve().parents[2]

POINTS = [
    ("account.pending", 1),
    ("account.pending", 3),
    ("account.after_plc", 1),
    ("account.after_plc", 2),
    ("account.after_append", 1),
    ("account.after_append", 3),
    ("pds.after_append_before_ack", 1),
    ("pds.after_append_before_ack", 60),
    ("pds.before_flush", 1),
    ("pds.before_flush", 12),
    ("pds.mid_flush", 1),
    ("pds.mid_flush", 12),
    ("blob.before_rename", 1),
    ("blob.before_rename", 9),
    ("blob.after_rename", 1),
    ("blob.after_rename", 9),
    ("blob.mid_collect", 1),
    ("blob.mid_collect", 4),
    ("account.mid_delete", 1),
    ("log.before_commit", 40),
    ("log.after_commit", 40),
]


def run(directory: Path, crash: str | None = None, kill_after: int | None = None) -> tuple[list[dict], str]:
    """What the worker said until it died, and its stderr. `kill_after` lines it is killed from outside."""
    directory.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("HEADRACE_CRASH", None)
    if crash is not None:
        environment["HEADRACE_CRASH"] = crash
    command = [sys.executable, "-m", "tests.chaos.pds_worker", str(directory), "7"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=ROOT) as worker:
        lines = []
        assert worker.stdout is not None
        assert worker.stderr is not None
        for line in worker.stdout:
            lines.append(orjson.loads(line))
            if len(lines) == kill_after:
                worker.send_signal(signal.SIGKILL)
        return lines, worker.stderr.read().decode()


class Expected:
    """What must and what may be, from what the worker said."""

    def __init__(self, lines: list[dict]) -> None:
        self.accounts: dict[str, str] = {}
        self.tried_accounts: set[str] = set()
        self.deleted: set[str] = set()
        self.tried_deletes: set[str] = set()
        self.told: dict[str, dict[str, str | None]] = defaultdict(dict)
        self.open: dict[str, dict[str, str | None]] = {}
        for line in lines:
            match line["kind"]:
                case "try account":
                    self.tried_accounts.add(line["handle"])
                case "account":
                    self.accounts[line["did"]] = line["handle"]
                case "try write":
                    self.open[line["did"]] = line["said"]
                case "write":
                    self.told[line["did"]].update(line["said"])
                    self.open.pop(line["did"], None)
                case "gone":
                    self.open.pop(line["did"], None)
                case "try delete":
                    self.tried_deletes.add(line["did"])
                case "delete":
                    self.deleted.add(line["did"])

    def check_records(self, did: str, found: dict[str, str]) -> None:
        """All that was told is there; a write under way is there whole or not at all."""
        told = {path: text for path, text in self.told[did].items() if text is not None}
        under_way = self.open.get(did, {})
        after = {path: text for path, text in (self.told[did] | under_way).items() if text is not None}
        assert found in (told, after), f"{did}: {found.items() ^ told.items()}"


def records_of(world, did: str) -> dict[str, str]:
    return {path: cbor.decode(world.log.record(did, path)[1])["text"] for path in world.check_repo(did)}


async def check(directory: Path, lines: list[dict]) -> None:
    expected = Expected(lines)
    world = await RealTime(directory, SETTINGS | {"blob_gc_age": 3600, "blob_gc_interval": 3600.0}).open()
    try:
        for did, handle in expected.accounts.items():
            gone = did in expected.deleted or (did in expected.tried_deletes and not world.pds.hosts(did))
            if gone:
                await check_gone(world, did, handle)
            else:
                await check_account(world, did, handle)
                expected.check_records(did, records_of(world, did))
        for handle in expected.tried_accounts - set(expected.accounts.values()):
            await check_whole_or_none(world, handle)
        assert world.pds._parts.blob_index.unfinished() == []
        assert world.pds._parts.accounts.pending() == []
    finally:
        await world.close()


async def check_account(world, did: str, handle: str) -> None:
    """Its file, read through the PDS, is what the log says; it can log in, write, and be read."""
    assert (await world.pds.create_session(handle, PASSWORD)).did == did
    head = await world.pds._parts.heads.get(Did(did))
    known = world.log.head(did)
    assert (head.root.cid, head.tree.write()[0]) == (known.commit, known.data)
    listed = {path for path, _ in head.file.paths("", 1000)}
    assert listed == set(world.check_repo(did))
    assert len(await joined(await world.pds.sync.repo_car(Did(did)))) > 100
    for path in listed:
        record = cbor.decode(head.record(path).value)
        if "embed" in record:
            cid = record["embed"]["images"][0]["image"]["ref"]
            blob = await world.pds.sync.open_blob(Did(did), cid)
            assert Cid.of_raw(await joined(blob.chunks)) == cid


async def check_gone(world, did: str, handle: str) -> None:
    with pytest.raises(XrpcError, match="RepoNotFound"):
        await world.pds.sync.latest_commit(Did(did))
    assert world.log.head(did).status == "deleted"
    assert world.log.paths(did) == []
    assert not world.file(did).exists()
    assert not world.pds._parts.blobs._files.path(did, Cid.of_raw(b"")).parent.exists()
    assert await world.pds.local_handle(handle) is None


async def check_whole_or_none(world, handle: str) -> None:
    """An account that nobody was told of is there, with directory and log, or its handle is free."""
    did = await world.pds.local_handle(handle)
    if did is None:
        made = await world.account(handle.removesuffix(".test"))
        assert made.handle == handle
        return
    assert (await world.resolver.did_document(did)).handles == (handle,)
    await check_account(world, did, handle)
    assert (await world.post(did)).commit is not None


@pytest.mark.chaos
@pytest.mark.parametrize(("name", "nth"), POINTS)
async def test_killed_at_a_named_point_nothing_acknowledged_is_lost(tmp_path, name, nth):
    lines, stderr = run(tmp_path / "data", f"{name}:{nth}")

    assert f"crash: {name}\n" in stderr
    assert "Traceback" not in stderr
    await check(tmp_path / "data", lines)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_random_again_and_again_nothing_acknowledged_is_lost(tmp_path, seed):
    after = random.Random(seed).randint(10, 300)

    lines, stderr = run(tmp_path / "data", kill_after=after)

    assert len(lines) >= after
    assert "Traceback" not in stderr
    await check(tmp_path / "data", lines)
    await check(tmp_path / "data", lines)


@pytest.mark.chaos
async def test_unharmed_the_worker_comes_to_its_end(tmp_path):
    lines, stderr = run(tmp_path / "data")

    assert lines[-1]["kind"] == "done", stderr
    assert sum(line["kind"] == "write" for line in lines) > 150
    await check(tmp_path / "data", lines)
