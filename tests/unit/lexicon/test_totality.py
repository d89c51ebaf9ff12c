"""Whatever the value, a validator accepts it or raises LexiconRefused; nothing else comes out."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import Any

import regex
from hypothesis import given
from hypothesis import strategies as st

from schemas.cid import Cid
from schemas.lexicon import LexiconRefused, load
from schemas.lexicon.strings import has_graphemes
from tests.unit.lexicon.samples import FAMILY, SAMPLES

TYPES = ["blob", "app.bsky.embed.images", "app.bsky.embed.record#main", "app.bsky.feed.post", "com.example.x", "#", ""]
NAMES = [
    "$type",
    "text",
    "createdAt",
    "embed",
    "images",
    "image",
    "alt",
    "record",
    "uri",
    "cid",
    "reply",
    "root",
    "size",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.binary(max_size=20).map(Cid.of_raw)
    | st.sampled_from(TYPES)
    | st.sampled_from(["a" * 3001, "日" * 301, FAMILY * 301, "\ud800" * 301])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=15,
)


def bend(node: Any, draw: st.DrawFn, value: object) -> Any:
    """Replace one place in the record, chosen step by step from the top."""
    if isinstance(node, dict) and node and draw(st.booleans()):
        key = draw(st.sampled_from(sorted(node)))
        node[key] = bend(node[key], draw, value)
        return node
    if isinstance(node, list) and node and draw(st.booleans()):
        node[0] = bend(node[0], draw, value)
        return node
    return value


@st.composite
def bent_records(draw: st.DrawFn) -> tuple[str, Any]:
    record = copy.deepcopy(draw(st.sampled_from(SAMPLES)))
    collection = record["$type"]
    key = draw(st.sampled_from([*sorted(record), "embed", "avatar", "labels"]))
    record[key] = bend(record.get(key), draw, draw(values))
    return collection, record


@given(values)
def test_any_value_is_judged_as_any_record(value: Any) -> None:
    for collection in ("app.bsky.feed.post", "app.bsky.actor.profile", "com.example.x"):
        given_type = {**value, "$type": collection} if isinstance(value, dict) else value
        with suppress(LexiconRefused):
            assert load().check_record(collection, given_type) in {"valid", "unknown"}


@given(values)
def test_any_value_is_judged_as_input_and_output(value: Any) -> None:
    for nsid in ("com.atproto.repo.applyWrites", "app.bsky.actor.putPreferences", "app.bsky.feed.getPostThread"):
        method = load().methods[nsid]
        with suppress(LexiconRefused):
            method.check_input(value)
        with suppress(LexiconRefused):
            method.check_output(value)


@given(case=st.data())
def test_a_record_bent_at_one_place_is_judged(case: st.DataObject) -> None:
    collection, record = case.draw(bent_records())

    with suppress(LexiconRefused):
        assert load().check_record(collection, record) == "valid"


@given(st.dictionaries(st.sampled_from(["limit", "actor", "includePins"]), st.text(max_size=20)))
def test_any_query_is_judged(query: dict[str, str]) -> None:
    with suppress(LexiconRefused):
        load().methods["app.bsky.feed.getAuthorFeed"].params(query)


@given(st.text(alphabet=st.sampled_from("a\r\né\u0301\u200d👩👦🇩🇪🏿日क्ष가ᄀ"), max_size=40), st.integers(0, 40))
def test_graphemes_are_counted_as_by_counting_each(text: str, count: int) -> None:
    assert has_graphemes(count)(text) == (len(regex.findall(r"\X", text)) >= count)
