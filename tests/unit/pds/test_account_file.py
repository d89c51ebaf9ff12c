from __future__ import annotations

from hashlib import sha256

import apsw
import pytest

from ingest.pds.account_file import AccountFile, Flush, Root, Stored
from ingest.pds.settings import PdsSettings
from schemas.cid import Cid
from schemas.tid import Tid

ROOT = Root(Tid("3l6q3w5xaaa2a"), Cid.of_cbor(b"data"), Cid.of_cbor(b"commit"), b"commit", 7)


def stored(text: str, rev: str = "3l6q3w5xaaa2a") -> Stored:
    return Stored(Cid.of_cbor(text.encode()), rev, text.encode())


@pytest.fixture
def file(tmp_path):
    file = AccountFile(tmp_path / "a" / "file.sqlite")
    yield file
    file.close()


def test_a_new_file_has_no_root(file):
    assert file.root() is None


def test_collections_are_found_by_skipping_and_do_not_swallow_their_namesakes(file):
    paths = ["a.b.c/1", "a.b.c/2", "a.b.c.d/1", "a.b.c-d/1", "a.b.cc/1", "z.z.z/~"]
    file.flush(Flush(ROOT, {}, (), {path: stored(path) for path in paths}, (), ()))

    assert file.collections() == sorted({path.partition("/")[0] for path in paths}, key=lambda name: name + "/")
    rows = file.records("a.b.c", after=None, before=None, limit=10, newest_first=False)
    assert [path for path, _, _ in rows] == ["a.b.c/1", "a.b.c/2"]


def test_a_flush_is_whole_or_not_at_all(file):
    file.flush(Flush(ROOT, {b"n": b"node"}, (), {"a.b.c/1": stored("1")}, (), ()))
    bad = {"a.b.c/2": stored("2"), "a.b.c/3": Stored(Cid.of_cbor(b"3"), None, b"3")}  # type: ignore[arg-type]

    with pytest.raises(Exception, match="NOT NULL"):
        file.flush(Flush(ROOT, {}, (b"n",), bad, (), ()))

    assert file.node(b"n") == b"node"
    assert file.record("a.b.c/2") is None


def test_a_snapshot_stays_as_it_was_while_the_file_goes_on(file):
    records = {f"a.b.c/{number:04}": stored(str(number)) for number in range(500)}
    file.flush(Flush(ROOT, {}, (), records, (), ()))
    snapshot = file.snapshot()
    first = next(rows := snapshot.records_since(""))

    file.flush(Flush(ROOT, {}, (), dict.fromkeys(records), (), ()))
    seen = [first, *rows]
    snapshot.close()

    assert len(seen) == 500
    assert file.counts() == (0, 0, 0)


def test_a_file_of_another_shape_is_dropped_because_it_is_a_view(tmp_path):
    path = tmp_path / "file.sqlite"
    file = AccountFile(path)
    file.flush(Flush(ROOT, {}, (), {"a.b.c/1": stored("1")}, (), ()))
    file._db.pragma("user_version", 99)
    file.close()

    again = AccountFile(path)

    assert again.root() is None
    again.close()


def test_references_are_paged_by_cid_and_dated_by_their_record(file):
    refs = [(Cid.of_raw(bytes([n])).raw, f"a.b.c/{n}") for n in range(6)]
    records = {path: stored(path, "3l6q3w5xaaa2a" if n < 3 else "3l6q3w5xaaa2b") for n, (_, path) in enumerate(refs)}
    file.flush(Flush(ROOT, {}, (), records, [*refs, (refs[0][0], "a.b.c/1")], ()))

    page = file.blob_refs(b"", None, 4)
    rest = file.blob_refs(page[-1][0], None, 4)
    newer = file.blob_refs(b"", "3l6q3w5xaaa2a", 10)

    assert [cid for cid, _ in (*page, *rest)] == sorted(cid for cid, _ in refs)
    assert {path for _, path in newer} == {f"a.b.c/{n}" for n in (3, 4, 5)}
    assert file.refers_to(refs[0][0]) == ["a.b.c/0", "a.b.c/1"]


def test_the_pages_of_all_open_files_stay_within_their_bound_however_large_the_files_grow(file):
    for start in range(0, 3_000, 30):
        texts = [str(number) for number in range(start, start + 30)]
        nodes = {sha256(text.encode()).digest(): bytes(700) for text in texts}
        records = {f"a.b.c/{text:0>8}": stored(text * 60) for text in texts}
        file.flush(Flush(ROOT, nodes, (), records, (), ()))
    for text in map(str, range(3_000)):
        assert file.node(sha256(text.encode()).digest())

    pages = file._db.pragma("page_count") * file._db.pragma("page_size")
    kept, _ = file._db.status(apsw.SQLITE_DBSTATUS_CACHE_USED)
    assert pages > 1 << 20
    assert PdsSettings().open_files * kept <= 40 << 20
