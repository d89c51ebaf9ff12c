"""Each word of the lexicon language, on a document of our own."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.cid import Cid
from schemas.lexicon import Catalogue, LexiconReason, LexiconRefused, parse_lexicon
from tests.unit.lexicon.samples import CID, FAMILY, NOW, blob

TYPE = "com.example.all"
PROPERTIES: dict[str, Any] = {
    "nothing": {"type": "null"},
    "flag": {"type": "boolean"},
    "yes": {"type": "boolean", "const": True},
    "number": {"type": "integer", "minimum": 1, "maximum": 9},
    "choice": {"type": "integer", "enum": [4, 9]},
    "answer": {"type": "integer", "const": 42},
    "word": {"type": "string", "enum": ["a", "b"]},
    "hint": {"type": "string", "knownValues": ["a", "b"]},
    "constant": {"type": "string", "const": "c"},
    "bytes_long": {"type": "string", "minLength": 3, "maxLength": 8},
    "seen": {"type": "string", "minGraphemes": 2, "maxGraphemes": 3},
    "raw": {"type": "bytes", "minLength": 2, "maxLength": 3},
    "link": {"type": "cid-link"},
    "file": {"type": "blob", "accept": ["*/*"]},
    "free": {"type": "unknown"},
    "list": {"type": "array", "items": {"type": "integer"}, "minLength": 1, "maxLength": 2},
    "inline": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    "maybe": {"type": "string"},
    "tree": {"type": "ref", "ref": "#tree"},
    "named": {"type": "ref", "ref": "#name"},
    "mark": {"type": "ref", "ref": "#mark"},
    "other": {"type": "ref", "ref": "com.example.all"},
    "either": {"type": "union", "refs": ["#tree", "com.example.all#leaf"]},
    "only": {"type": "union", "refs": ["#leaf"], "closed": True},
    **{
        form: {"type": "string", "format": form}
        for form in (
            "datetime",
            "uri",
            "at-uri",
            "did",
            "handle",
            "at-identifier",
            "nsid",
            "cid",
            "language",
            "tid",
            "record-key",
        )
    },
}
DOCUMENT = {
    "lexicon": 1,
    "id": TYPE,
    "defs": {
        "main": {
            "type": "record",
            "key": "any",
            "record": {"type": "object", "properties": PROPERTIES, "nullable": ["maybe"]},
        },
        "tree": {"type": "object", "properties": {"child": {"type": "ref", "ref": "#tree"}, "n": {"type": "integer"}}},
        "leaf": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "name": {"type": "string", "maxLength": 4},
        "mark": {"type": "token"},
    },
}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue({TYPE: parse_lexicon(DOCUMENT)})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("nothing", None),
        ("flag", False),
        ("yes", True),
        ("number", 1),
        ("number", 9),
        ("choice", 9),
        ("answer", 42),
        ("word", "b"),
        ("hint", "z"),
        ("constant", "c"),
        ("bytes_long", "aaa"),
        ("bytes_long", "éééé"),
        ("seen", FAMILY * 2),
        ("seen", "abc"),
        ("raw", b"12"),
        ("raw", b"123"),
        ("link", CID),
        ("file", blob("application/x-anything", 10**12)),
        ("free", {}),
        ("free", {"$type": "x"}),
        ("list", [1]),
        ("list", [1, 2]),
        ("inline", {"a": 1, "b": "free"}),
        ("maybe", None),
        ("tree", {"child": {"child": {"n": 1}}}),
        ("named", "éé"),
        ("mark", f"{TYPE}#mark"),
        ("other", {"number": 5}),
        ("either", {"$type": f"{TYPE}#leaf", "n": 1}),
        ("either", {"$type": "com.example.stranger"}),
        ("only", {"$type": f"{TYPE}#leaf", "n": 1}),
        ("datetime", NOW),
        ("uri", "https://example.com/x"),
        ("at-uri", "at://ada.test/app.bsky.feed.post/1"),
        ("did", "did:web:example.com"),
        ("handle", "ada.test"),
        ("at-identifier", "ada.test"),
        ("nsid", "com.example.thing"),
        ("cid", str(CID)),
        ("language", "pt-BR"),
        ("tid", "3kznmn7xqxl22"),
        ("record-key", "self"),
    ],
)
def test_what_the_definition_allows_is_valid(catalogue: Catalogue, field: str, value: object) -> None:
    assert catalogue.check_record(TYPE, {"$type": TYPE, field: value}) == "valid"


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("nothing", 0, "must be null"),
        ("flag", 1, "must be a boolean"),
        ("flag", None, "must be a boolean"),
        ("yes", False, "must be true"),
        ("number", 0, "can not be less than 1"),
        ("number", 10, "can not be greater than 9"),
        ("number", "5", "must be an integer"),
        ("number", True, "must be an integer"),
        ("choice", 5, "must be one of (4|9)"),
        ("answer", 41, "must be 42"),
        ("word", "c", "must be one of (a|b)"),
        ("constant", "d", "must be c"),
        ("bytes_long", "aa", "must not be shorter than 3 bytes"),
        ("bytes_long", "éééé1", "must not be longer than 8 bytes"),
        ("seen", FAMILY, "must not be shorter than 2 graphemes"),
        ("seen", FAMILY * 4, "must not be longer than 3 graphemes"),
        ("seen", "", "must not be shorter than 2 graphemes"),
        ("raw", b"1", "must not be smaller than 2 bytes"),
        ("raw", b"1234", "must not be larger than 3 bytes"),
        ("raw", CID, "must be a byte array"),
        ("raw", "12", "must be a byte array"),
        ("link", bytes(CID), "must be a CID"),
        ("link", str(CID), "must be a CID"),
        ("free", blob(), "must be an object"),
        ("free", False, "must be an object"),
        ("free", [], "must be an object"),
        ("free", CID, "must be an object"),
        ("free", None, "must be an object"),
        ("list", [], "must not have fewer than 1 elements"),
        ("list", [1, 2, 3], "must not have more than 2 elements"),
        ("list", (1,), "must be an array"),
        ("inline", {}, 'must have the property "a"'),
        ("maybe", 5, "must be a string"),
        ("tree", None, "must be an object"),
        ("named", "ééé", "must not be longer than 4 bytes"),
        ("mark", "#mark", f"must be {TYPE}#mark"),
        ("only", {"$type": "com.example.stranger"}, f"$type must be one of {TYPE}#leaf"),
        ("only", {"n": 1}, 'must be an object which includes the "$type" property'),
        ("either", {"$type": f"{TYPE}#leaf"}, 'must have the property "n"'),
        ("datetime", "2026-01-02", "must be an valid atproto datetime (both RFC-3339 and ISO-8601)"),
        ("uri", "example.com", "must be a uri"),
        ("at-uri", "at://ada.test/", "must be a valid at-uri"),
        ("did", "did:web", "must be a valid did"),
        ("handle", "ada", "must be a valid handle"),
        ("at-identifier", "ada", "must be a valid did or a handle"),
        ("nsid", "thing", "must be a valid nsid"),
        ("cid", "123", "must be a cid string"),
        ("language", "x" * 200, "must be a well-formed BCP 47 language tag"),
        ("tid", "000", "must be a valid TID"),
        ("record-key", ".", "must be a valid Record Key"),
    ],
)
def test_what_the_definition_forbids_is_refused(catalogue: Catalogue, field: str, value: object, said: str) -> None:
    with pytest.raises(LexiconRefused) as refused:
        catalogue.check_record(TYPE, {"$type": TYPE, field: value})

    assert str(refused.value) == f"Record/{field} {said}"


def test_a_path_leads_through_recursive_definitions(catalogue: Catalogue) -> None:
    with pytest.raises(LexiconRefused) as refused:
        catalogue.check_record(TYPE, {"$type": TYPE, "tree": {"child": {"child": {"n": "x"}}}})

    assert refused.value.path == "Record/tree/child/child/n"


def test_an_item_of_an_array_is_named_by_its_index(catalogue: Catalogue) -> None:
    with pytest.raises(LexiconRefused) as refused:
        catalogue.check_record(TYPE, {"$type": TYPE, "list": [1, Cid.of_raw(b"")]})

    assert refused.value.path == "Record/list/1"


def test_a_reference_to_nowhere_is_refused_with_its_name() -> None:
    lost = {
        "lexicon": 1,
        "id": "com.example.lost",
        "defs": {
            "main": {
                "type": "record",
                "record": {"type": "object", "properties": {"x": {"type": "ref", "ref": "com.example.gone"}}},
            }
        },
    }

    with pytest.raises(LexiconRefused, match=r"Lexicon not found: com.example.gone") as refused:
        Catalogue({"com.example.lost": parse_lexicon(lost)}).check_record(
            "com.example.lost", {"$type": "com.example.lost"}
        )
    assert refused.value.reason is LexiconReason.DOCUMENT


@pytest.mark.parametrize(
    "defs",
    [
        {"other": {"type": "query"}},
        {"main": {"type": "record"}},
        {"main": {"type": "record", "record": {"properties": {}}}},
        {"main": {"type": "record", "record": {"type": "ref", "ref": "#x"}}},
        {"main": {"type": "object", "properties": {}, "required": ["a"]}},
        {"main": {"type": "query", "parameters": {"type": "params", "properties": {}, "required": ["a"]}}},
        {"main": {"type": "string", "format": "phone"}},
        {"main": {"type": "array"}},
        {"main": {"type": "surprise"}},
        {"main": {"type": "query", "parameters": {"type": "params", "properties": {"a": {"type": "bytes"}}}}},
        {"x": {"type": "object", "properties": {"o": {"type": "object", "properties": {}, "required": ["a"]}}}},
        [],
        None,
    ],
)
def test_a_document_that_breaks_the_language_is_refused(defs: object) -> None:
    with pytest.raises(LexiconRefused) as refused:
        parse_lexicon({"lexicon": 1, "id": "com.example.bad", "defs": defs})

    assert refused.value.reason is LexiconReason.DOCUMENT
    assert str(refused.value).startswith("Lexicon ")


NESTED = b'{"lexicon":1,"id":"a.b.c","defs":{"x":' + b'{"type":"array","items":' * 5000 + b"}" * 5000 + b"}}"


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b"\xff", None, 5, [], {"lexicon": 1}, NESTED])
def test_what_is_no_document_is_refused(document: object) -> None:
    with pytest.raises(LexiconRefused):
        parse_lexicon(document)
