"""A new view is one declaration: nothing else has to know it."""

from __future__ import annotations

import pytest

from processors.batch import Stages
from processors.decode import Decoder
from processors.plan import Plan
from schemas.cbor import encode
from schemas.cid import Cid
from schemas.entries import RecordEntry
from schemas.errors import InvariantError
from schemas.lexicon import load
from schemas.syntax import Did
from schemas.tid import tid_from_micros
from views import ALL
from views.store_sqlite import SqliteStore
from views.table import APPLIED, Table, integer, text
from views.view import FanoutSettings, View

POST = "app.bsky.feed.post"
TAGS = Table(
    "posts_by_tag",
    "edges",
    partition=(text("tag", "lower case"),),
    clustering=(text("uri", "of a post"),),
    statics=(integer("posts", "rows"), APPLIED),
)
VIEW = View(
    TAGS,
    rows={POST: lambda post: [(tag, post.uri) for tag in post.value.get("tags", ())]},
    tallies={POST: lambda post: [((tag,), 0) for tag in post.value.get("tags", ())]},
)


def entry(offset, tags):
    did, rkey = Did("did:plc:" + "a" * 24), str(tid_from_micros(1_700_000_000_000_000, 0))
    rev = tid_from_micros(1_700_000_000_000_000 + offset, 0)
    value = None
    if tags is not None:
        value = encode({"$type": POST, "text": "", "createdAt": "2024-01-01T00:00:00Z", "tags": tags})
    cid = value and Cid.of_cbor(value)
    return RecordEntry(did, POST, rkey, cid, value, rev, 1, offset, offset, offset)


async def test_create_update_and_delete_follow_from_which_rows_a_record_makes(tmp_path):
    store = SqliteStore(tmp_path / "v.sqlite", [view.table for view in (*ALL, VIEW)])
    plan = Plan((*ALL, VIEW))
    decoder = Decoder(load(), plan.collections)
    stages = Stages(plan, decoder, store, await store.progress(), shards=2, settings=FanoutSettings())
    found = []
    for offset, tags in enumerate([["a", "b"], ["b", "c"], None], 1):
        stages.begin()
        await stages.feed(0, [entry(offset, tags)])
        await store.apply(stages.finish())
        rows = {tag for tag in "abc" if await store.slice(TAGS, (tag,), limit=9)}
        counts = [None if row is None else row[0] for row in await store.statics(TAGS, [("a",), ("b",), ("c",)])]
        found.append((rows, counts))
    await store.close()

    assert found == [({"a", "b"}, [1, 1, None]), ({"b", "c"}, [0, 1, 1]), (set(), [0, 0, 0])]


def test_two_views_of_one_name_are_refused():
    with pytest.raises(InvariantError, match="one name"):
        Plan((*ALL, ALL[0]))


def test_every_column_says_what_a_reader_gets():
    columns = [(view.name, c) for view in ALL for c in (*view.table.all_columns, *view.table.statics)]

    assert [(name, column.name) for name, column in columns if not column.about] == []
    assert len(columns) > 100
