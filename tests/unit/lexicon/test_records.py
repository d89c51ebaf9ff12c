"""Records of the official lexicons: what holds, what does not, and with which words."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.cid import Cid
from schemas.lexicon import LexiconReason, LexiconRefused, load
from tests.unit.lexicon.samples import DID, FAMILY, NOW, REF, SAMPLES, blob, images, like, post, profile


def refusal(record: dict[str, Any], collection: str | None = None) -> LexiconRefused:
    with pytest.raises(LexiconRefused) as refused:
        load().check_record(collection or record["$type"], record)
    return refused.value


@pytest.mark.parametrize("record", SAMPLES, ids=lambda record: record["$type"])
def test_a_record_as_its_lexicon_says_is_valid(record: dict[str, Any]) -> None:
    assert load().check_record(record["$type"], record) == "valid"


def test_properties_that_the_lexicon_does_not_name_are_free() -> None:
    assert load().check_record("app.bsky.feed.post", post(mood={"any": [1, None, b"x"]})) == "valid"


def test_a_collection_without_a_lexicon_is_unknown() -> None:
    assert load().check_record("com.example.thing", {"$type": "com.example.thing", "n": 1}) == "unknown"


@pytest.mark.parametrize("collection", ["app.bsky.feed.post", "com.example.thing"])
def test_the_type_of_a_record_is_its_collection_whether_known_or_not(collection: str) -> None:
    wrong = refusal({"$type": "app.bsky.feed.like"}, collection)
    absent = refusal({"text": "x"}, collection)

    assert str(wrong) == f"Invalid $type: expected {collection}, got app.bsky.feed.like"
    assert str(absent) == "Record/$type must be a string"
    assert refusal([], collection).message == "Record must be an object"  # type: ignore[arg-type]


def test_a_method_is_no_collection() -> None:
    refused = refusal({"$type": "app.bsky.feed.getTimeline"})

    assert refused.reason is LexiconReason.DOCUMENT


@pytest.mark.parametrize(
    ("record", "path", "message"),
    [
        ({"$type": "app.bsky.feed.post", "text": "x"}, "Record", 'Record must have the property "createdAt"'),
        (post(text=None), "Record/text", "Record/text must be a string"),
        (
            post(createdAt="yesterday"),
            "Record/createdAt",
            "Record/createdAt must be an valid atproto datetime (both RFC-3339 and ISO-8601)",
        ),
        (post(langs=["en"] * 4), "Record/langs", "Record/langs must not have more than 3 elements"),
        (
            post(langs=["en", "?"]),
            "Record/langs/1",
            "Record/langs/1 must be a well-formed BCP 47 language tag",
        ),
        (post(tags="x"), "Record/tags", "Record/tags must be an array"),
        (post(reply={"root": REF}), "Record/reply", 'Record/reply must have the property "parent"'),
        (post(reply=[]), "Record/reply", "Record/reply must be an object"),
        (
            like(subject={**REF, "uri": "https://x.y"}),
            "Record/subject/uri",
            "Record/subject/uri must be a valid at-uri",
        ),
        (like(subject={**REF, "cid": "?"}), "Record/subject/cid", "Record/subject/cid must be a cid string"),
        (
            {"$type": "app.bsky.graph.follow", "subject": "ada.test", "createdAt": NOW},
            "Record/subject",
            "Record/subject must be a valid did",
        ),
        (
            post(embed=images(aspectRatio={"width": 0, "height": 1})),
            "Record/embed/images/0/aspectRatio/width",
            "Record/embed/images/0/aspectRatio/width can not be less than 1",
        ),
        (
            post(embed=images(aspectRatio={"width": True, "height": 1})),
            "Record/embed/images/0/aspectRatio/width",
            "Record/embed/images/0/aspectRatio/width must be an integer",
        ),
        (
            profile(displayName="x" * 65),
            "Record/displayName",
            "Record/displayName must not be longer than 64 graphemes",
        ),
    ],
)
def test_a_refusal_names_the_place_and_the_rule(record: dict[str, Any], path: str, message: str) -> None:
    refused = refusal(record)

    assert (refused.path, refused.message, str(refused)) == (path, message, message)


def test_the_first_failure_in_the_lexicons_order_is_told_whatever_the_order_of_the_keys() -> None:
    record = {"createdAt": 1, "text": 2, "$type": "app.bsky.feed.post"}

    assert refusal(record).path == "Record/text"
    assert refusal(dict(reversed(record.items()))).path == "Record/text"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" * 300, None),
        ("a" * 301, LexiconReason.GRAPHEMES),
        ("\r\n" * 300, None),
        ("\r\n" * 301, LexiconReason.GRAPHEMES),
        ("e\u0301" * 300, None),
        ("e\u0301" * 301, LexiconReason.GRAPHEMES),
        (FAMILY * 120, None),
        (FAMILY * 121, LexiconReason.LENGTH),
        ("a" + "\u0301" * 1499, None),
        ("a" + "\u0301" * 1500, LexiconReason.LENGTH),
        ("日" * 300, None),
        ("日" * 301, LexiconReason.GRAPHEMES),
    ],
    ids=lambda value: f"{value[:2]!a}*{len(value)}" if isinstance(value, str) else None,
)
def test_a_post_holds_300_graphemes_and_3000_bytes(text: str, reason: LexiconReason | None) -> None:
    if reason is None:
        assert load().check_record("app.bsky.feed.post", post(text=text)) == "valid"
    else:
        refused = refusal(post(text=text))
        assert refused.reason is reason
        assert refused.path == "Record/text"


@pytest.mark.parametrize("size", [0, 2_000_000])
def test_a_blob_within_its_size_is_valid(size: int) -> None:
    assert load().check_record("app.bsky.feed.post", post(embed=images(image=blob(size=size)))) == "valid"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (blob(size=2_000_001), LexiconReason.BLOB),
        (blob(mime="text/html"), LexiconReason.BLOB),
        (blob(mime="imageX/png"), LexiconReason.BLOB),
        (blob(size=-1), LexiconReason.TYPE),
        ({**blob(), "size": "10"}, LexiconReason.TYPE),
        ({**blob(), "size": True}, LexiconReason.TYPE),
        ({**blob(), "ref": str(Cid.of_raw(b"image"))}, LexiconReason.TYPE),
        ({**blob(), "mimeType": None}, LexiconReason.TYPE),
        ({**blob(), "more": 1}, LexiconReason.TYPE),
        ({"$type": "blob"}, LexiconReason.TYPE),
        ("green", LexiconReason.TYPE),
        (Cid.of_raw(b"image"), LexiconReason.TYPE),
    ],
)
def test_a_blob_of_the_wrong_size_type_or_form_is_refused(image: object, reason: LexiconReason) -> None:
    refused = refusal(post(embed=images(image=image)))

    assert refused.reason is reason
    assert refused.path == "Record/embed/images/0/image"


def test_a_blob_in_the_old_form_is_valid_and_its_type_counts() -> None:
    old = {"cid": str(Cid.of_raw(b"image")), "mimeType": "image/png"}

    assert load().check_record("app.bsky.actor.profile", profile(avatar=old)) == "valid"
    assert refusal(profile(avatar={**old, "mimeType": "text/html"})).reason is LexiconReason.BLOB
    assert refusal(profile(avatar={**old, "cid": "?"})).reason is LexiconReason.TYPE
    assert refusal(profile(avatar={**old, "size": 1})).reason is LexiconReason.TYPE


@pytest.mark.parametrize(
    "embed",
    [
        {"images": [{"image": blob(), "alt": ""}]},
        {"$type": 5},
        {"$type": ""},
        {"$type": "a.b.c#d#e"},
        blob(),
        Cid.of_raw(b"x"),
        [],
        "app.bsky.embed.images",
    ],
)
def test_an_embed_without_a_proper_type_is_refused(embed: object) -> None:
    refused = refusal(post(embed=embed))

    assert str(refused) == 'Record/embed must be an object which includes the "$type" property'


def test_an_open_union_lets_strangers_pass_and_checks_its_members() -> None:
    assert load().check_record("app.bsky.feed.post", post(embed={"$type": "com.example.embed", "x": 1})) == "valid"
    assert refusal(post(embed={"$type": "app.bsky.embed.images"})).message == (
        'Record/embed must have the property "images"'
    )
    assert refusal(post(embed={"$type": "app.bsky.embed.images#main"})).reason is LexiconReason.REQUIRED


def test_an_embed_of_another_kind_is_checked_as_what_it_says_it_is() -> None:
    refused = refusal(post(embed={**images(), "$type": "app.bsky.embed.external"}))

    assert str(refused) == 'Record/embed must have the property "external"'


def test_a_did_that_has_been_parsed_is_still_a_string() -> None:
    from schemas.syntax import Did

    record = {"$type": "app.bsky.graph.follow", "subject": Did.parse(DID), "createdAt": NOW}

    assert load().check_record("app.bsky.graph.follow", record) == "valid"
