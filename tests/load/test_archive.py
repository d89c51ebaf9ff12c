"""Archives: what is appended comes back byte for byte, is found by time, seq and account, and survives damage."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.load.archive import blocks, index, segments
from headrace.load.archive.blocks import ArchiveReason, Item, Kind, did_key
from headrace.load.archive.cut import cut, export_frames, import_frames, shown, touches
from headrace.load.archive.items import document_item, frame_item
from headrace.load.archive.jetstream import export_lines, import_lines, write_lines
from headrace.load.archive.reader import Archive, Wanted, hashes, last_seq
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import FRAMES, ArchiveWriter, paths
from schemas.errors import Refused
from tests.interop.firehose_vectors import CORPUS, real_frames
from tests.support.signed_repo import SignedRepo

Vectors = Callable[[str], Path]
START = 1_767_225_600_000_000  # 2026-01-01


def item(number: int, did: str = "did:plc:a", size: int = 40) -> Item:
    return Item(START + number * 1000, number + 1, did_key(did), Kind.COMMIT, number.to_bytes(4, "big") * (size // 4))


def write(directory: Path, items: list[Item], *, block: int = 4) -> list[Item]:
    with ArchiveWriter(directory, source="test") as writer:
        for number, each in enumerate(items, 1):
            writer.frame(each)
            if number % block == 0:
                writer.flush()
    return items


def document(did: str, key: str) -> dict[str, object]:
    method = {"id": f"{did}#atproto", "type": "Multikey", "controller": did, "publicKeyMultibase": key}
    return {"id": did, "verificationMethod": [method]}


def repo_frames(repo: SignedRepo, commits: int) -> Iterator[tuple[int, bytes]]:
    from schemas.entries import cbor_uint

    for number in range(commits):
        entry = repo.commit((f"app.bsky.feed.post/{number:013d}", b"\xa1atp%03d" % number + b"x" * 13))
        yield number + 1, entry.head + cbor_uint(number + 1) + entry.tail


def test_what_is_appended_comes_back_in_order_over_sessions(tmp_path: Path) -> None:
    first = write(tmp_path, [item(number) for number in range(10)])
    more = write(tmp_path, [item(number) for number in range(10, 13)])

    assert list(Archive(tmp_path).items()) == first + more
    assert [path.name for path in Archive(tmp_path).segments()] == ["00000001.frames", "00000002.frames"]
    assert last_seq(tmp_path) == 13


def test_segments_end_at_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.load.archive.writer.SEGMENT_ITEMS", 8)
    items = write(tmp_path, [item(number) for number in range(30)])

    assert len(paths(tmp_path, FRAMES)) == 4
    assert list(Archive(tmp_path).items()) == items


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    spec=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 50), st.integers(0, 5)), min_size=1, max_size=40),
    since=st.integers(0, 30),
    until=st.integers(0, 31),
    after=st.integers(-1, 50),
    accounts=st.none() | st.frozensets(st.integers(0, 6), max_size=3),
    block=st.integers(1, 7),
)
def test_the_index_finds_what_a_scan_finds(  # noqa: PLR0917 - what hypothesis draws
    tmp_path_factory: pytest.TempPathFactory,
    spec: list[tuple[int, int, int]],
    since: int,
    until: int,
    after: int,
    accounts: frozenset[int] | None,
    block: int,
) -> None:
    directory = tmp_path_factory.mktemp("archive")
    items = [Item(at, seq, did_key(f"did:{did}"), Kind.COMMIT, bytes((at, seq))) for at, seq, did in spec]
    write(directory, items, block=block)
    dids = None if accounts is None else hashes([f"did:{each}" for each in accounts])
    wanted = Wanted(since, until, after, dids)

    expected = [
        each
        for each in items
        if since <= each.time < until and each.seq > after and (dids is None or each.did_key in dids)
    ]

    assert list(Archive(directory).items(wanted)) == expected
    for path in paths(directory, FRAMES):
        index.path_of(path).unlink()
    assert list(Archive(directory).items(wanted)) == expected


def test_a_segment_torn_at_any_byte_is_read_to_its_last_good_block_and_cut_there(tmp_path: Path) -> None:
    items = write(tmp_path / "whole", [item(number) for number in range(6)], block=2)
    (segment,) = paths(tmp_path / "whole", FRAMES)
    data = segment.read_bytes()
    ends = [block.offset + block.length for block in segments.indexed(segment).blocks]
    torn = tmp_path / "torn"
    torn.mkdir()
    for size in range(len(data)):
        for path in torn.iterdir():
            path.unlink()
        (torn / segment.name).write_bytes(data[:size])
        good = 2 * sum(end <= size for end in ends)
        archive = Archive(torn)

        assert list(archive.items()) == items[:good], size
        whole = size in ends or (size == segments.indexed(segment).blocks[0].offset)
        assert bool(archive.damages) is not (whole or size == 0), size

        with ArchiveWriter(torn, source="test") as writer:
            assert bool(writer.cut) is bool(archive.damages), size
            writer.frame(item(99))
        healed = Archive(torn)
        assert list(healed.items()) == [*items[:good], item(99)], size
        assert healed.damages == []


def test_a_flipped_bit_anywhere_loses_at_most_its_block_and_is_said(tmp_path: Path) -> None:
    items = write(tmp_path, [item(number) for number in range(6)], block=2)
    (segment,) = paths(tmp_path, FRAMES)
    data = segment.read_bytes()
    first = segments.indexed(segment).blocks[0].offset
    for at in range(len(data)):
        segment.write_bytes(data[:at] + bytes((data[at] ^ (1 << at % 8),)) + data[at + 1 :])
        index.path_of(segment).unlink(missing_ok=True)
        archive = Archive(tmp_path)

        found = list(archive.items())

        if at < first:
            assert found == items
            assert segments.description(segment) is None
        else:
            assert len(found) == 4
            assert set(found) < set(items)
            assert len(archive.damages) == 1
        assert list(Archive(tmp_path).items(Wanted(after=0))) == found


def test_a_bit_that_flips_after_the_index_was_made_is_found_too(tmp_path: Path) -> None:
    items = write(tmp_path, [item(number) for number in range(4)], block=2)
    (segment,) = paths(tmp_path, FRAMES)
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    archive = Archive(tmp_path)

    assert list(archive.items(Wanted(after=0))) == items[:2]
    assert [lost.segment for lost in archive.damages] == [segment.name]


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    items = write(tmp_path, [item(number, f"did:{number % 3}") for number in range(9)])
    (segment,) = paths(tmp_path, FRAMES)
    path = index.path_of(segment)
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :])

        assert list(Archive(tmp_path).items(Wanted(dids=hashes(["did:1"])))) == items[1::3]
        assert path.read_bytes() == data


def test_a_block_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    del tmp_path
    bomb = zstandard.ZstdCompressor().compress(bytes(1_000_000))
    head = blocks.Head(1, 100, len(bomb), 0, 0, 0, 0, __import__("hashlib").sha256(bomb).digest())

    with pytest.raises(Refused) as refused:
        blocks.decode_payload(head, bomb)
    assert refused.value.reason is ArchiveReason.PAYLOAD


def test_an_archive_has_one_writer_and_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("not an archive")
    with ArchiveWriter(tmp_path / "mine", source="a"), pytest.raises(Refused, match="another process"):
        ArchiveWriter(tmp_path / "mine", source="b")
    with pytest.raises(Refused, match=r"letter\.txt"):
        ArchiveWriter(tmp_path / "other", source="a")
    with pytest.raises(Refused, match="holds no archive"):
        Archive(tmp_path / "other")


def test_memory_is_bounded_whatever_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.load.archive.writer.BLOCK_BYTES", 262_144)
    noise = Random(1)
    tracemalloc.start()
    try:
        with ArchiveWriter(tmp_path, source="test", level=1) as writer:
            for number in range(1_600):
                writer.frame(Item(START, number + 1, 0, Kind.COMMIT, noise.randbytes(20_000)))
        written = sum(path.stat().st_size for path in paths(tmp_path, FRAMES))
        assert sum(len(each.data) for each in Archive(tmp_path).items()) == 32_000_000
        assert sum(1 for _ in Archive(tmp_path).items(Wanted(after=800))) == 800
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert written > 32_000_000
    assert peak < 4_000_000


_SEEN = [b"", b"{}", b'{"id":"did:a"}', b"[", b"\xa2atg#commitbop\x01", b"\xa1bop\x20\xa0"]


@settings(max_examples=80, deadline=None)
@given(
    made=st.lists(
        st.tuples(
            st.integers(0, 2**64 - 1),
            st.integers(0, 2**64 - 1),
            st.sampled_from([0, did_key("did:a")]),
            st.integers(0, 255),
            st.binary(max_size=60) | st.sampled_from(_SEEN),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_an_archive_of_anything_is_read_shown_verified_and_exported(
    tmp_path_factory: pytest.TempPathFactory, made: list[tuple[int, int, int, int, bytes]]
) -> None:
    directory = tmp_path_factory.mktemp("strange")
    with ArchiveWriter(directory / "a", source="strange") as writer:
        for fields in made:
            writer.frame(Item(*fields))
            writer.document(Item(*fields))
    archive = Archive(directory / "a")

    assert [tuple(each) for each in archive.items()] == made
    report = Verifier(archive).run()
    assert report.frames.total() == len(made)
    assert all(json.dumps(shown(each)) for each in archive.items())
    for each in archive.items():
        touches(each, ("app.bsky.*",))
    assert list(export_lines(archive)) == [data for *_, kind, data in made if kind == Kind.LINE]
    archive.documents("did:a")
    with ArchiveWriter(directory / "b", source="strange") as writer:
        assert cut(archive, writer, Wanted(), ()) == len(made)


def test_lines_and_frames_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, [item(0)])

    with pytest.raises(Refused, match="holds signed frames"):
        ArchiveWriter(tmp_path, source="a", signed=False)


def test_real_frames_survive_bit_for_bit_and_verify_offline(vectors: Vectors, tmp_path: Path) -> None:
    frames = real_frames(vectors)
    with ArchiveWriter(tmp_path / "a", source="corpus") as writer:
        import_frames(vectors(f"{CORPUS}/frames.bin"), vectors(f"{CORPUS}/did_docs.json"), writer)
    archive = Archive(tmp_path / "a")

    assert [each.data for each in archive.items()] == frames
    report = Verifier(archive).run()
    assert report.failures == {}
    assert report.frames == {"commit": 80}
    assert export_frames(archive, tmp_path / "out.bin", Wanted()) == 80
    assert (tmp_path / "out.bin").read_bytes() == vectors(f"{CORPUS}/frames.bin").read_bytes()


def test_a_real_frame_with_any_flipped_byte_fails_verification(vectors: Vectors, tmp_path: Path) -> None:
    frames = real_frames(vectors)
    docs = json.loads(vectors(f"{CORPUS}/did_docs.json").read_text())
    whole = [frame_item(frame, START * 2) for frame in frames[:1]]
    (good, message), *_ = whole
    assert message is not None
    with ArchiveWriter(tmp_path, source="flips") as writer:
        writer.document(document_item(message.did, docs[message.did], START))
        for number, at in enumerate(range(0, len(good.data), 97)):
            flipped = good.data[:at] + bytes((good.data[at] ^ 1,)) + good.data[at + 1 :]
            writer.frame(frame_item(flipped, START * 2)[0]._replace(seq=number + 1))
    report = Verifier(Archive(tmp_path)).run()

    # The message's own time and the seq are not signed: what changes there alone still holds.
    assert report.failures.total() >= report.frames.total() - 2
    assert report.failures.total() > 50


def test_verification_names_gaps_missing_documents_and_wrong_keys(tmp_path: Path) -> None:
    good, stranger, forger = (
        SignedRepo(f"did:plc:{name * 24}", START, n) for n, name in ((1, "a"), (2, "b"), (3, "c"))
    )
    with ArchiveWriter(tmp_path, source="test") as writer:
        writer.document(document_item(good.did, document(good.did, good.key.public.multikey), START))
        writer.document(document_item(forger.did, document(forger.did, good.key.public.multikey), START))
        for repo, left_out in ((good, 2), (stranger, 9), (forger, 9)):
            for seq, frame in repo_frames(repo, 5):
                if seq != left_out:
                    writer.frame(frame_item(frame, START * 2)[0])
    report = Verifier(Archive(tmp_path)).run()

    assert dict(report.failures) == {"chain_gap": 1, "no_document": 5, "signature": 5, "seq_not_rising": 2}


def test_a_cut_has_what_was_asked_for_and_verifies(tmp_path: Path) -> None:
    one, two = (SignedRepo(f"did:plc:{name * 24}", START, n) for n, name in ((1, "a"), (2, "b")))
    with ArchiveWriter(tmp_path / "a", source="test") as writer:
        for repo in (one, two):
            writer.document(document_item(repo.did, document(repo.did, repo.key.public.multikey), START))
            for seq, frame in repo_frames(repo, 4):
                writer.frame(frame_item(frame, START * 2 + seq)[0])
    archive = Archive(tmp_path / "a")
    with ArchiveWriter(tmp_path / "b", source="test") as writer:
        assert cut(archive, writer, Wanted(since=START * 2 + 2, dids=hashes([two.did])), ("app.bsky.feed.*",)) == 3
    part = Archive(tmp_path / "b")

    assert [each.data for each in part.items()] == [each.data for each in archive.items()][5:]
    assert Verifier(part, Wanted(since=1)).run().failures == {}
    assert part.documents(one.did) == []
    assert not touches(next(part.items()), ("app.bsky.graph.*",))


def test_every_item_is_shown_as_json(tmp_path: Path) -> None:
    repo = SignedRepo("did:plc:" + "a" * 24, START)
    entries = [frame_item(frame, START)[0] for _, frame in repo_frames(repo, 1)]
    entries += [frame_item(b"\xff no frame", START)[0], document_item(repo.did, document(repo.did, "z"), START)]
    del tmp_path

    commit, broken, doc = map(shown, entries)

    assert commit["ops"][0]["path"] == "app.bsky.feed.post/0000000000000"
    assert broken["hex"] == b"\xff no frame".hex()
    assert doc["json"]["id"] == repo.did


def test_real_frames_export_to_the_golden_lines(vectors: Vectors, tmp_path: Path) -> None:
    golden = vectors(f"{CORPUS}/expected_v1.jsonl").read_bytes().splitlines()
    with ArchiveWriter(tmp_path, source="corpus") as writer:
        import_frames(vectors(f"{CORPUS}/frames.bin"), None, writer)

    def timeless(line: bytes) -> bytes:
        head, _, tail = line.partition(b'"time_us":')
        return head + tail[tail.index(b",") :]

    assert sorted(map(timeless, export_lines(Archive(tmp_path)))) == sorted(map(timeless, golden))


@pytest.mark.parametrize("name", ["lines.jsonl", "lines.jsonl.zst"])
def test_lines_come_in_and_go_out_as_they_were(tmp_path: Path, name: str) -> None:
    lines = [b'{"did":"did:plc:a", "time_us":%d,"kind":"commit","commit":{"x":[1.50]}}' % n for n in range(1, 3000)]
    assert write_lines(iter(lines), tmp_path / name) == 2999
    with ArchiveWriter(tmp_path / "a", source=name, signed=False) as writer, (tmp_path / name).open("rb") as file:
        assert import_lines(file, writer) == (2999, [])
    archive = Archive(tmp_path / "a")

    assert not archive.signed
    assert list(export_lines(archive)) == lines
    assert list(export_lines(archive, Wanted(since=10, until=12))) == lines[9:11]
    assert Verifier(archive).run().failures == {"unsigned": 2999}


def test_lines_that_are_none_are_refused_alone_and_a_torn_file_to_its_end(tmp_path: Path) -> None:
    good = b'{"did":"did:plc:a","time_us":1,"kind":"commit"}\n'
    packed = zstandard.ZstdCompressor().compress(b"".join(good[:-1] + b" " * n + b"\n" for n in range(2000)))
    cases = {
        "torn.zst": (packed[:-20], 1),
        "mixed": (good + b"not json\n" + b'{"did":1}\n' + good, 2),
        "long": (good + b"x" * 3_000_000 + b"\n", 1),
        "empty": (b"", 0),
    }
    for name, (data, least) in cases.items():
        (tmp_path / name).write_bytes(data)
        with (
            ArchiveWriter(tmp_path / f"a-{name}", source=name, signed=False) as writer,
            (tmp_path / name).open("rb") as file,
        ):
            taken, refused = import_lines(file, writer)
        assert taken == {"torn.zst": taken, "mixed": 2, "long": 1, "empty": 0}[name]
        assert len(refused) >= least


def test_the_program_in_the_format_s_description_reads_an_archive(vectors: Vectors, tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", source="corpus") as writer:
        import_frames(vectors(f"{CORPUS}/frames.bin"), vectors(f"{CORPUS}/did_docs.json"), writer)
    page = (Path(__file__).parents[2] / "docs" / "archive-format.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (segment,) = paths(tmp_path / "a", FRAMES)
    lines = []
    for name in (segment, segment.with_suffix(".documents")):
        run = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, check=True)
        lines += run.stdout.splitlines()

    assert len(lines) == 80 + 80
    for line, each in zip(lines, Archive(tmp_path / "a").items(), strict=False):
        assert line == f"{each.time} {each.seq} {each.did_key:016x} {each.kind} {each.data[:40]}"
