"""Parameters, inputs, outputs and messages of the official methods."""

from __future__ import annotations

from typing import Any

import pytest
from multidict import MultiDict, MultiDictProxy

from schemas.cid import Cid
from schemas.lexicon import LexiconReason, LexiconRefused, Method, load
from tests.unit.lexicon.samples import DID, post


def method(nsid: str) -> Method:
    found = load().method(nsid)
    assert found is not None
    return found


def query(text: str) -> MultiDictProxy[str]:
    return MultiDictProxy(MultiDict(pair.partition("=")[::2] for pair in text.split("&") if pair))


@pytest.mark.parametrize(
    ("nsid", "text", "values"),
    [
        ("app.bsky.feed.getTimeline", "", {"limit": 50}),
        ("app.bsky.feed.getTimeline", "limit=1&cursor=abc", {"limit": 1, "cursor": "abc"}),
        ("app.bsky.feed.getTimeline", "limit=100&cursor=&unknown=1", {"limit": 100}),
        ("app.bsky.feed.getTimeline", "limit=5&limit=6", {"limit": 5}),
        ("app.bsky.feed.getTimeline", "limit=", {"limit": 50}),
        ("app.bsky.actor.getProfile", "actor=ada.test", {"actor": "ada.test"}),
        ("app.bsky.actor.getProfiles", f"actors=ada.test&actors={DID}", {"actors": ["ada.test", DID]}),
        ("app.bsky.actor.getProfiles", "actors=ada.test", {"actors": ["ada.test"]}),
        (
            "app.bsky.feed.getAuthorFeed",
            "actor=ada.test&includePins=true&filter=whatever",
            {"actor": "ada.test", "limit": 50, "filter": "whatever", "includePins": True},
        ),
        ("com.atproto.sync.subscribeRepos", "cursor=0", {"cursor": 0}),
        ("com.atproto.server.describeServer", "x=1", {}),
    ],
)
def test_a_query_becomes_typed_values_with_defaults(nsid: str, text: str, values: dict[str, Any]) -> None:
    read = method(nsid).params(query(text))

    if nsid == "app.bsky.feed.getAuthorFeed":
        assert read.pop("includePins") is True
        values = {key: value for key, value in values.items() if key != "includePins"}
    assert read == values


def test_a_plain_mapping_does_for_a_query() -> None:
    actors = method("app.bsky.actor.getProfiles")

    assert actors.params({"actors": ["ada.test", "bob.test"]}) == {"actors": ["ada.test", "bob.test"]}
    assert actors.params({"actors": "ada.test"}) == {"actors": ["ada.test"]}
    assert method("app.bsky.actor.getProfile").params({"actor": ["ada.test"]}) == {"actor": "ada.test"}


@pytest.mark.parametrize(
    ("nsid", "text", "message"),
    [
        ("app.bsky.actor.getProfile", "", 'Params must have the property "actor"'),
        ("app.bsky.actor.getProfile", "actor=", 'Params must have the property "actor"'),
        ("app.bsky.actor.getProfiles", "", 'Params must have the property "actors"'),
        ("app.bsky.actor.getProfiles", "actors=", 'Params must have the property "actors"'),
        ("app.bsky.actor.getProfile", "actor=?", "actor must be a valid did or a handle"),
        ("app.bsky.actor.getProfiles", "actors=ada.test&actors=?", "actors/1 must be a valid did or a handle"),
        (
            "app.bsky.actor.getProfiles",
            "&".join(["actors=ada.test"] * 26),
            "actors must not have more than 25 elements",
        ),
        ("app.bsky.feed.getTimeline", "limit=0", "limit can not be less than 1"),
        ("app.bsky.feed.getTimeline", "limit=101", "limit can not be greater than 100"),
        ("app.bsky.feed.getTimeline", "limit=-1", "limit can not be less than 1"),
        ("app.bsky.feed.getTimeline", "limit=ten", "limit must be an integer"),
        ("app.bsky.feed.getTimeline", "limit=1.5", "limit must be an integer"),
        ("app.bsky.feed.getTimeline", "limit=٣", "limit must be an integer"),
        ("app.bsky.feed.getTimeline", f"limit={'9' * 5000}", "limit must be an integer"),
        ("app.bsky.feed.getAuthorFeed", "actor=ada.test&includePins=yes", "includePins must be a boolean"),
    ],
)
def test_a_query_that_does_not_hold_is_refused(nsid: str, text: str, message: str) -> None:
    with pytest.raises(LexiconRefused) as refused:
        method(nsid).params(query(text))

    assert str(refused.value) == message


def test_an_input_is_checked_and_its_defaults_filled_in() -> None:
    create = method("com.atproto.server.createInviteCodes")

    assert create.check_input({"useCount": 1}) == {"useCount": 1, "codeCount": 1}
    assert create.check_input({"useCount": 1, "codeCount": 3})["codeCount"] == 3


def test_an_input_that_does_not_hold_is_refused() -> None:
    create = method("com.atproto.repo.createRecord")
    body = {"repo": DID, "collection": "app.bsky.feed.post", "record": post()}

    assert create.check_input(body) is body
    for wrong, message in (
        ({key: body[key] for key in ("collection", "record")}, 'Input must have the property "repo"'),
        ({**body, "collection": "x"}, "Input/collection must be a valid nsid"),
        ({**body, "record": "x"}, "Input/record must be an object"),
        ({**body, "rkey": "/"}, "Input/rkey must be a valid Record Key"),
        ({**body, "validate": "true"}, "Input/validate must be a boolean"),
        ([], "Input must be an object"),
        (None, "Input must be an object"),
    ):
        with pytest.raises(LexiconRefused) as refused:
            create.check_input(wrong)
        assert str(refused.value) == message


def test_a_closed_union_in_an_input_takes_its_members_only() -> None:
    apply = method("com.atproto.repo.applyWrites")
    delete = {"$type": "com.atproto.repo.applyWrites#delete", "collection": "app.bsky.feed.post", "rkey": "a"}

    apply.check_input({"repo": DID, "writes": [delete]})

    with pytest.raises(LexiconRefused, match=r"^Input/writes/0 \$type must be one of com.atproto.repo.applyWrites#"):
        apply.check_input({"repo": DID, "writes": [{**delete, "$type": "com.example.other"}]})


def test_bodies_without_a_schema_may_be_anything_and_absent_bodies_nothing() -> None:
    upload = method("com.atproto.repo.uploadBlob")
    timeline = method("app.bsky.feed.getTimeline")

    assert upload.check_input(b"any bytes") == b"any bytes"
    assert (upload.input_encoding, upload.output_encoding) == ("*/*", "application/json")
    assert (timeline.input_encoding, timeline.check_input(None)) == (None, None)
    with pytest.raises(LexiconRefused, match="Input must be empty"):
        timeline.check_input({})


def test_an_output_is_checked() -> None:
    timeline = method("app.bsky.feed.getTimeline")

    timeline.check_output({"feed": [], "cursor": "x"})

    with pytest.raises(LexiconRefused, match=r'^Output must have the property "feed"$'):
        timeline.check_output({})
    with pytest.raises(LexiconRefused, match=r'^Output/feed/0 must have the property "post"$'):
        timeline.check_output({"feed": [{}]})


def test_a_thread_of_many_levels_is_checked_to_its_end() -> None:
    thread = {"$type": "app.bsky.feed.defs#notFoundPost", "uri": "?", "notFound": True}
    author = {"did": DID, "handle": "ada.test"}
    uri = f"at://{DID}/app.bsky.feed.post/1"
    view = {"uri": uri, "cid": str(Cid.of_cbor(b"")), "author": author, "record": post(), "indexedAt": "2026-01-02"}
    for _ in range(80):
        thread = {"$type": "app.bsky.feed.defs#threadViewPost", "post": view, "parent": thread}

    with pytest.raises(LexiconRefused) as refused:
        method("app.bsky.feed.getPostThread").check_output({"thread": thread})

    assert refused.value.path == "Output/thread/post/indexedAt"
    view["indexedAt"] = "2026-01-02T03:04:05Z"
    with pytest.raises(LexiconRefused) as refused:
        method("app.bsky.feed.getPostThread").check_output({"thread": thread})
    assert refused.value.path == "Output/thread" + "/parent" * 80 + "/uri"


def test_a_message_is_checked_as_what_its_header_says() -> None:
    subscribe = method("com.atproto.sync.subscribeRepos")
    identity = {"seq": 1, "did": DID, "time": "2026-01-02T03:04:05Z"}

    subscribe.check_message("#identity", identity)
    subscribe.check_message("#info", {"name": "OutdatedCursor"})

    with pytest.raises(LexiconRefused, match=r'^Message must have the property "seq"$'):
        subscribe.check_message("#identity", {"did": DID})
    with pytest.raises(LexiconRefused) as refused:
        subscribe.check_message("#surprise", identity)
    assert refused.value.reason is LexiconReason.UNION
    with pytest.raises(LexiconRefused):
        method("app.bsky.feed.getTimeline").check_message("#commit", {})
