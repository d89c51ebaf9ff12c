"""Synthesis: the same bytes for a seed, frames that hold, and a population of the shape that was measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from headrace.load.archive.cut import shown
from headrace.load.archive.reader import Archive
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.synthesis import model, repos
from headrace.load.synthesis.accounts import Accounts
from headrace.load.synthesis.fame import post_uri
from headrace.load.synthesis.plan import Plan
from headrace.load.synthesis.pool import steps_of, synthesise
from headrace.load.synthesis.resign import resign
from headrace.load.synthesis.spill import Spill
from headrace.load.synthesis.steps import Population, Step
from headrace.load.synthesis.streams import quantile, slots, stream
from ingest.identity import did_doc, plc_op
from ingest.pds.writes import Write, prepare
from schemas import cbor, lexicon
from schemas.syntax import Did, Nsid, RecordKey
from schemas.tid import TidClock

SMALL = Population(seed=7, accounts=20, events=600)
HASH = "6244722bb0300ca34ed702d6c4e160458b9fe5ff47414d00a0e92779817284b3"


def make(directory: Path, population: Population = SMALL, workers: int = 1) -> Archive:
    with ArchiveWriter(directory, source="test") as writer:
        synthesise(population, writer, workers=workers)
    return Archive(directory)


def test_a_seed_gives_the_same_archive_on_every_machine(tmp_path: Path) -> None:
    assert make(tmp_path / "a").content_hash() == HASH


def test_any_number_of_processes_gives_the_same_archive(tmp_path: Path) -> None:
    assert make(tmp_path / "a", workers=3).content_hash() == HASH


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_synthesis_that_is_stopped_leaves_a_readable_archive_and_nothing_else(tmp_path: Path, number: int) -> None:
    arguments = ["--accounts", "50", "--events", "1000000", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", "load", "synthesise", str(tmp_path / "a"), *arguments],
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    try:
        until = time.monotonic() + 200
        while sum(path.stat().st_size for path in tmp_path.glob("a/*.frames")) < 10_000:  # a head is less than a block
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.01)
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()  # to its end: every process that could write has ended
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    _, alive = psutil.wait_procs(workers, 30)
    archive = Archive(tmp_path / "a")

    assert len(workers) >= 2
    assert alive == []
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert b"Traceback" not in said
    assert process.returncode == (1 if number == signal.SIGINT else -9)
    assert sum(1 for _ in archive.items()) >= 1_024
    assert Verifier(archive).run().failures == {}


def test_another_seed_gives_another_archive(tmp_path: Path) -> None:
    other = make(tmp_path / "a", SMALL._replace(seed=8))

    assert other.content_hash() != HASH


def test_every_frame_holds_and_every_chain_is_whole(tmp_path: Path) -> None:
    archive = make(tmp_path / "a", Population(seed=3, accounts=60, events=1_500))

    report = Verifier(archive).run()

    assert report.failures == {}
    assert archive.damages == []
    assert report.frames["commit"] > 1_500
    assert report.frames["identity"] >= 60


def test_memory_that_is_too_small_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spilled: list[int] = []
    put_away = repos.Repos._put_away
    monkeypatch.setattr(repos.Repos, "_put_away", lambda self: (spilled.append(1), put_away(self)))
    monkeypatch.setattr(repos.Repos.__init__, "__kwdefaults__", {"mine": lambda _: True, "room": 60})

    assert make(tmp_path / "a").content_hash() == HASH
    assert len(spilled) > 100


def test_repos_that_have_no_room_are_in_no_file_with_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    spill = Spill()
    data = bytes(1_000_000)
    for number in range(40):  # more than is held in memory
        spill.put(number, data)
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]

    assert any(link.startswith(str(tmp_path)) and link.endswith("(deleted)") for link in links)
    assert list(tmp_path.iterdir()) == []
    assert spill.take(39) == data
    with pytest.raises(KeyError):
        spill.take(39)
    spill.close()


def test_identities_are_founded_by_their_own_operations(tmp_path: Path) -> None:
    archive = make(tmp_path / "a", Population(1, 5, 0))
    accounts = Accounts(1)
    for number in range(5):
        did = accounts.did(number)
        (operation,) = archive.operations(did)
        genesis = plc_op.parse(operation)
        assert genesis.did == did
        assert genesis.signer(genesis.rotation_keys) == 0
        (_, document), *_ = archive.documents(did)
        parsed = did_doc.parse(did, document)
        assert parsed.signing_key == accounts.key(number).public
        assert parsed.handles == (f"a{number}.test",)


def test_a_change_of_handle_is_an_operation_that_follows(tmp_path: Path) -> None:
    archive = make(tmp_path / "a", Population(seed=11, accounts=10, events=8_000))
    renamed = {
        found["did"] for found in map(shown, archive.items()) if found["kind"] == "identity" and "-" in found["handle"]
    }
    assert renamed
    for did in renamed:
        operations = [plc_op.parse(each) for each in archive.operations(did)]
        for before, after in pairwise(operations):
            assert after.prev == str(before.cid)
            assert after.signer(before.rotation_keys) == 0
        assert archive.documents(did)[-1][1]["alsoKnownAs"] == operations[-1].json["alsoKnownAs"]


def test_a_recorded_archive_signed_again_holds_under_other_identities(tmp_path: Path) -> None:
    archive = make(tmp_path / "a")
    with ArchiveWriter(tmp_path / "b", source="again") as writer:
        resign(archive, writer, 99)
    again = Archive(tmp_path / "b")

    assert Verifier(again).run().failures == {}
    theirs, ours = map(_dids, (archive, again))
    assert len(ours) == len(theirs)
    assert not ours & theirs
    said = [str(shown(item)) for item in again.items()]
    assert not [did for did in theirs if any(did in each for each in said)]
    assert [_deed(item) for item in map(shown, again.items())] == [_deed(item) for item in map(shown, archive.items())]


def test_signing_again_with_the_first_seed_gives_the_first_archive(tmp_path: Path) -> None:
    archive = make(tmp_path / "a")
    with ArchiveWriter(tmp_path / "b", source="again") as writer:
        resign(archive, writer, SMALL.seed)

    # Documents of changed handles are not made again; every frame is.
    assert [item.data for item in Archive(tmp_path / "b").items()] == [item.data for item in archive.items()]


# --- the shape: of the plan alone, which is quick ---


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return list(plan(Population(seed=5, accounts=3_000, events=60_000)))


def plan(population: Population) -> Iterator[Step]:
    dids = [Did(f"did:plc:{number:024d}") for number in range(population.accounts)]
    return steps_of(population, dids)


def acts(steps: list[Step]) -> Counter[str]:
    found: Counter[str] = Counter()
    for step in steps:
        for path, record in step.writes:
            name = path.split("/")[0].removeprefix("app.bsky.")
            value = cbor.decode(record) if isinstance(record, bytes) else record
            kind = "delete" if value is None else "reply" if "reply" in value else "create"
            found[f"{name} {kind}"] += not step.found
    return found


def test_the_mix_of_events_is_the_measured_one(steps: list[Step]) -> None:
    found = acts(steps)
    total = found.total()
    expected = {
        "feed.like create": 66.39,
        "feed.repost create": 10.55,
        "graph.follow create": 6.75,
        "feed.post create": 6.35,
        "feed.post reply": 5.32,
        "graph.follow delete": 1.05,
        "feed.like delete": 0.83,
        "graph.block create": 0.68,
        "feed.threadgate create": 0.61,
        "feed.repost delete": 0.41,
        "feed.postgate create": 0.33,
    }
    for name, percent in expected.items():
        # Undoing what was not done becomes a like; small kinds vary by chance.
        assert abs(100 * found[name] / total - percent) < max(0.35, 0.04 * percent), (name, found[name] / total)


def test_activity_is_as_unequal_as_measured(steps: list[Step]) -> None:
    done = Counter(step.account for step in steps if not step.found)
    ranked = sorted(done.values(), reverse=True)
    share = sum(ranked[:30]) / sum(ranked)

    draw = stream(1, "check")
    weights = sorted((quantile(model.EVENTS_PER_ACCOUNT, draw()) for _ in range(100_000)), reverse=True)
    assert weights[50_000] == pytest.approx(8, abs=2)
    assert weights[10_000] == pytest.approx(159, rel=0.1)
    assert weights[1_000] == pytest.approx(1_185, rel=0.2)
    assert 0.2 < share < 0.75  # of the most active hundredth


def test_likes_gather_on_few_posts(steps: list[Step]) -> None:
    received: Counter[str] = Counter()
    posts = set()
    half = steps[len(steps) // 4 : len(steps) // 2]  # whose posts have had time to be liked
    for step in half:
        posts |= {w.path.split("/")[1] for w in step.writes if w.path.startswith("app.bsky.feed.post/") and w.record}
    for step in steps:
        for path, record in step.writes:
            if path.startswith("app.bsky.feed.like/") and isinstance(record, dict):
                received[record["subject"]["uri"].rpartition("/")[2]] += 1
    counts = sorted((received[rkey] for rkey in posts), reverse=True)

    assert 0.25 < sum(count == 0 for count in counts) / len(counts) < 0.55  # 40 % in the source
    assert 0.5 < sum(count <= 1 for count in counts) / len(counts) < 0.85  # 70 %
    assert counts[0] > 40
    assert sum(counts[: len(counts) // 10]) > 0.45 * sum(counts)


def test_follows_gather_on_few_accounts(steps: list[Step]) -> None:
    following: list[int] = []
    followed: Counter[str] = Counter()
    for step in steps:
        if step.found:
            subjects = [
                w.record["subject"] for w in step.writes if isinstance(w.record, dict) and "subject" in w.record
            ]
            assert len(set(subjects)) == len(subjects)
            following.append(len(subjects))
            followed.update(subjects)
    received = sorted(followed.values(), reverse=True)

    assert sorted(following)[1_500] == pytest.approx(44, abs=6)  # median 44 to 68 in the source
    assert sum(following) / 3_000 == pytest.approx(53, abs=6)  # mean 53
    assert received[0] > 15 * received[len(received) // 2]


def test_posts_have_the_measured_languages_replies_and_quotes(steps: list[Step]) -> None:
    posts = [
        cbor.decode(record)
        for step in steps
        for path, record in step.writes
        if path.startswith("app.bsky.feed.post/") and isinstance(record, bytes)
    ]
    languages = Counter(post.get("langs", ["none"])[0] for post in posts)
    total = len(posts)

    assert languages["en"] / total == pytest.approx(0.608, abs=0.03)
    assert languages["ja"] / total == pytest.approx(0.106, abs=0.02)
    assert sum("reply" in post for post in posts) / total == pytest.approx(0.456, abs=0.03)
    assert sum("embed" in post for post in posts) / total == pytest.approx(0.056, abs=0.015)
    assert max(len(post["text"]) for post in posts) <= 300
    for post in posts[:2_000]:
        for facet in post.get("facets", ()):
            index = facet["index"]
            word = post["text"].encode()[index["byteStart"] : index["byteEnd"]].decode()
            assert word.startswith(("https://example.com/", "@a"))


def test_every_record_is_valid_by_its_lexicon(steps: list[Step]) -> None:
    catalogue = lexicon.load()
    seen: Counter[str] = Counter()
    for step in [step for step in steps if step.writes][::7]:
        for path, record in step.writes:
            collection, _, rkey = path.partition("/")
            value = cbor.decode(record) if isinstance(record, bytes) else record
            if value is not None and seen[collection] < 300:
                prepared = prepare(Write("put", collection, rkey, value), catalogue, TidClock(0, lambda: 0))
                assert prepared.status == "valid"
                seen[collection] += 1

    assert len(seen) >= 9


def test_threads_grow_deep(steps: list[Step]) -> None:
    depth: dict[str, int] = {}
    for step in steps:
        for path, record in step.writes:
            if path.startswith("app.bsky.feed.post/") and isinstance(record, bytes):
                reply = cbor.decode(record).get("reply")
                parent = None if reply is None else reply["parent"]["uri"].rpartition("/")[2]
                depth[path.rpartition("/")[2]] = 0 if parent is None else depth.get(parent, 0) + 1

    replies = [each for each in depth.values() if each]
    assert sum(each == 1 for each in replies) / len(replies) < 0.8
    assert max(replies) >= 8


def test_hours_of_the_day_differ_as_the_table_says() -> None:
    steps = plan(Population(seed=2, accounts=200, events=40_000, rate=0.05))
    hours = Counter(step.time // 3_600_000_000 % 24 for step in steps if not step.found)

    assert hours[0] / hours[7] == pytest.approx(model.HOURS[0] / model.HOURS[7], rel=0.2)


def test_times_rise_and_paths_are_never_used_twice_for_creation(steps: list[Step]) -> None:
    last = 0
    seen: set[tuple[int, str]] = set()
    for step in steps:
        assert step.time > last
        last = step.time
        for path, record in step.writes:
            collection, _, rkey = path.partition("/")
            assert Nsid.is_valid(collection)
            assert RecordKey.is_valid(rkey)
            if record is not None and rkey != "self" and "gate" not in collection:
                assert (step.account, path) not in seen
                seen.add((step.account, path))
            elif record is None:
                assert (step.account, path) in seen


def test_accounts_that_left_do_nothing_and_those_away_come_back_first() -> None:
    steps = plan(Population(seed=11, accounts=40, events=30_000))
    state: dict[int, str] = {}
    seen: Counter[str] = Counter()
    for step in steps:
        assert state.get(step.account) != "deleted"
        if step.status is not None:
            seen[step.status] += 1
            state[step.account] = step.status
        else:
            assert state.get(step.account, "active") == "active"
        seen["renamed"] += step.renamed is not None

    assert min(seen[each] for each in ("deactivated", "active", "deleted", "renamed")) > 1


def test_tables_are_whole() -> None:
    assert set(slots(model.EVENT_MIX)) == {name for name, _ in model.EVENT_MIX}
    assert all(hasattr(Plan, f"_{name}") for name, _ in model.EVENT_MIX)
    assert sum(model.HOURS) / 24 == pytest.approx(100, abs=3)
    assert sum(weight for _, weight in model.LANGUAGES) == 1_000
    assert sum(model.EXPONENTIAL) / 64 == pytest.approx(1_000, abs=1)
    assert [quantile(((0, 1), (5_000, 11), (10_000, 111)), u) for u in (0.0, 0.25, 0.5, 0.75)] == [1, 6, 11, 61]


def _dids(archive: Archive) -> set[str]:
    return {found["did"] for found in map(shown, archive.items())}


def _deed(found: dict) -> tuple:
    return found["kind"], found["time"], [(op["action"], op["path"]) for op in found.get("ops", ())]


FAMOUS = Population(seed=4, accounts=31, events=70, famous=True)


def test_a_famous_account_is_followed_by_all_and_each_of_its_posts_is_liked_in_turn(tmp_path: Path) -> None:
    archive = make(tmp_path / "a", FAMOUS)
    did = Accounts(4).did(0)
    commits = [found for item in archive.items() for found in [shown(item)] if found["kind"] == "commit"]
    paths = [(found["did"], op["path"]) for found in commits for op in found["ops"]]
    follows = {who for who, path in paths if path.startswith("app.bsky.graph.follow/")}
    posts = [f"at://{who}/{path}" for who, path in paths if path.startswith("app.bsky.feed.post/")]
    likes = [who for who, path in paths if path.startswith("app.bsky.feed.like/")]

    assert Verifier(archive).run().failures == {}
    assert (len(follows), did in follows) == (30, False)
    assert posts == [post_uri(FAMOUS, did, number) for number in range(3)]
    assert likes[:30] == likes[30:60]
    assert set(likes[:30]) == follows
    assert len(likes) == 67


def test_any_number_of_processes_makes_the_same_fame(tmp_path: Path) -> None:
    alone, together = make(tmp_path / "a", FAMOUS), make(tmp_path / "b", FAMOUS, workers=2)

    assert alone.content_hash() == together.content_hash()
