"""String formats: their parts, their normal form, and their limits at the edge and one past it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import limits
from schemas.syntax import (
    AtIdentifier,
    AtUri,
    CidText,
    Datetime,
    Did,
    Handle,
    Language,
    Nsid,
    RecordKey,
    SyntaxReason,
    SyntaxRefused,
    Uri,
)

FORMATS = [AtIdentifier, AtUri, CidText, Datetime, Did, Handle, Language, Nsid, RecordKey, Uri]
LABEL = "l" * 63
HANDLE_AT_LIMIT = ".".join([LABEL, LABEL, LABEL, "l" * 56, "test"])
NSID_AT_LIMIT = ".".join(["com", LABEL, LABEL, LABEL, "l" * 57, "n" * 63])
RKEY_AT_LIMIT = "k" * limits.RKEY_MAX


@pytest.mark.parametrize(
    ("kind", "at_limit", "limit"),
    [
        (Did, "did:plc:" + "x" * (limits.DID_MAX - 8), limits.DID_MAX),
        (Handle, HANDLE_AT_LIMIT, limits.HANDLE_MAX),
        (Nsid, NSID_AT_LIMIT, limits.NSID_MAX),
        (RecordKey, RKEY_AT_LIMIT, limits.RKEY_MAX),
        (Uri, "https:" + "x" * (limits.URI_MAX - 6), limits.URI_MAX),
        (Language, "x-" + "-".join(["abcdefgh"] * 13 + ["abcdefg", "a"]), limits.LANGUAGE_MAX),
        (CidText, "b" * limits.CID_TEXT_MAX, limits.CID_TEXT_MAX),
    ],
)
def test_each_length_is_held_at_the_limit_and_one_past_it(kind, at_limit, limit):
    assert len(at_limit) == limit
    assert kind.parse(at_limit) == at_limit
    one_past = {Handle: "l" + at_limit, Nsid: at_limit.replace("lll.n", "llll.n"), Language: at_limit + "-a"}
    with pytest.raises(SyntaxRefused):
        kind.parse(one_past.get(kind, at_limit + "x"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_refusal_names_its_format_and_is_short(kind):
    with pytest.raises(SyntaxRefused) as refused:
        kind.parse(" " * 10_000)

    assert refused.value.reason is kind.reason
    assert refused.value.reason in SyntaxReason
    assert "of 10000 characters" in refused.value.detail
    assert len(refused.value.detail) < 300


@pytest.mark.parametrize("kind", FORMATS)
@settings(deadline=None)
@given(st.text(max_size=40))
def test_parse_and_is_valid_agree_on_any_text(kind, text):
    try:
        kind.parse(text)
    except SyntaxRefused:
        assert not kind.is_valid(text)
    else:
        assert kind.is_valid(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Did, "did:plc:abc"),
        (Handle, "alice.test"),
        (Nsid, "com.example.thing"),
        (RecordKey, "self"),
        (AtUri, "at://did:plc:abc/com.example.thing/self"),
        (Language, "en"),
        (Datetime, "2026-01-02T03:04:05.678Z"),
        (Uri, "https://example.com"),
        (CidText, "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"),
    ],
)
def test_a_line_end_is_never_part_of_a_name(kind, text):
    assert kind.is_valid(text)
    for spoilt in (text + "\n", "\n" + text, text + " ", text + "\0"):
        assert not kind.is_valid(spoilt)


def test_a_handle_is_normal_in_lower_case():
    assert Handle.parse("Alice.TEST") == "alice.test"
    assert AtIdentifier.of("Alice.TEST") == Handle("alice.test")
    assert AtUri.parse("at://Alice.TEST/com.example.thing").authority == "alice.test"


def test_an_identifier_is_a_did_or_a_handle():
    assert type(AtIdentifier.of("did:plc:abc")) is Did
    assert type(AtIdentifier.of("alice.test")) is Handle
    with pytest.raises(SyntaxRefused):
        AtIdentifier.of("did:plc")


def test_a_uri_has_its_parts():
    uri = AtUri.parse("at://did:plc:abc/com.example.thing/self")

    assert (uri.authority, uri.collection, uri.rkey) == ("did:plc:abc", "com.example.thing", "self")
    assert (type(uri.authority), type(uri.collection), type(uri.rkey)) == (Did, Nsid, RecordKey)
    assert uri.did_or_handle == uri.authority
    assert AtUri.make(uri.authority, uri.collection, uri.rkey) == uri


def test_a_uri_may_stop_early():
    collection, repo = AtUri.make("did:plc:abc", "com.example.thing"), AtUri.make("did:plc:abc")

    assert (collection.collection, collection.rkey) == ("com.example.thing", None)
    assert (repo.authority, repo.collection, repo.rkey) == ("did:plc:abc", None, None)
    assert AtUri.is_valid(collection)
    assert AtUri.is_valid(repo)


def test_an_nsid_has_its_authority_and_name():
    assert Nsid("app.Bsky.feed.getTimeline").authority == "feed.bsky.app"
    assert Nsid("app.bsky.feed.getTimeline").name == "getTimeline"


def test_a_did_has_its_method():
    assert Did("did:web:example.com").method == "web"


@pytest.mark.parametrize(
    "tag",
    [
        "de-DE-1901-1901",
        "en-rozaj-ROZAJ",
        "en-a-foo-a-bar",
        "en-u-co-phonebk-U-ca-buddhist",
        "jaja",
        "j",
        "a-DE",
        "ja-",
    ],
)
def test_a_language_repeats_no_variant_or_singleton(tag):
    assert not Language.is_valid(tag)


@pytest.mark.parametrize(
    "tag", ["en-GB-oed", "i-klingon", "zh-min-nan", "sl-rozaj-biske-1994", "en-a-foo-b-bar-x-a-a", "x-a-a"]
)
def test_a_language_may_be_old_or_private(tag):
    assert Language.is_valid(tag)


@pytest.mark.parametrize(
    "text",
    [
        "https://ü.de/ä",
        "https://日本語.jp/パス?x=1#見出し",
        "https://example.com/emoji/🦋",
        "mailto:ä@example.com",
        "tel:+123",
        "at://alice.test/x",
        "9p://x",
        "web+ap://x",
        "file:///etc",
        "x:y",
    ],
)
def test_links_of_the_real_network_are_uris(text):
    assert Uri.parse(text) == text


@pytest.mark.parametrize(
    "text",
    ["https:", ":x", "//x", "ä b:c", "https://a b", "https://a\u00a0b", "https://a\ufeffb", "https://a\x00b", "+x:y"],
)
def test_what_no_reference_takes_for_a_uri_is_refused(text):
    assert not Uri.is_valid(text)
    assert not Uri.is_valid("a" * 100_000)


def test_an_at_uri_and_a_cid_text_have_their_limits():
    """Parts that are each within their own limit make at most 2,886 characters: one too long is refused by its part."""
    longest = f"at://did:plc:{'x' * (limits.DID_MAX - 8)}/{NSID_AT_LIMIT}/{RKEY_AT_LIMIT}"
    assert AtUri.is_valid(longest)
    assert len(longest) == 5 + limits.DID_MAX + 1 + limits.NSID_MAX + 1 + limits.RKEY_MAX < limits.AT_URI_MAX
    assert not AtUri.is_valid(longest + "k")
    assert not AtUri.is_valid("at://alice.test/com.example.thing/" + "k" * limits.AT_URI_MAX)
    assert CidText.is_valid("b" * limits.CID_TEXT_MIN)
    assert not CidText.is_valid("b" * (limits.CID_TEXT_MIN - 1))
