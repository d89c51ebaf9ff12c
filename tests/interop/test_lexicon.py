"""The lexicon language against the interop vectors, and the shipped documents against the published ones."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.data import from_json
from schemas.lexicon import Catalogue, LexiconReason, LexiconRefused, load, parse_lexicon
from schemas.lexicon.shipped import NAMESPACES, Shipped

LEXICON = "bluesky-social/atproto-interop-tests/lexicon"
Vectors = Callable[[str], Path]


@pytest.fixture(scope="module")
def catalogue(vectors: Vectors) -> Catalogue:
    documents = [parse_lexicon(path.read_bytes()) for path in vectors(f"{LEXICON}/catalog").glob("*.json")]
    assert len(documents) == 5
    return Catalogue(ChainMap({document.id: document for document in documents}, Shipped()))


def test_valid_documents_are_accepted(vectors: Vectors) -> None:
    cases = json.loads(vectors(f"{LEXICON}/lexicon-valid.json").read_text())

    assert cases
    for case in cases:
        assert parse_lexicon(case["lexicon"]).id == case["lexicon"]["id"], case["name"]


def test_invalid_documents_are_refused(vectors: Vectors) -> None:
    cases = json.loads(vectors(f"{LEXICON}/lexicon-invalid.json").read_text())

    assert cases
    for case in cases:
        with pytest.raises(LexiconRefused) as refused:
            parse_lexicon(case["lexicon"])
        assert refused.value.reason is LexiconReason.DOCUMENT, case["name"]


def test_valid_records_are_valid(vectors: Vectors, catalogue: Catalogue) -> None:
    cases = json.loads(vectors(f"{LEXICON}/record-data-valid.json").read_text())

    assert cases
    for case in cases:
        data = from_json(case["data"])
        catalogue.check_key(data["$type"], case["rkey"])
        assert catalogue.check_record(data["$type"], data) == "valid", case["name"]


def test_invalid_records_are_refused(vectors: Vectors, catalogue: Catalogue) -> None:
    cases = json.loads(vectors(f"{LEXICON}/record-data-invalid.json").read_text())

    assert cases
    for case in cases:
        data = from_json(case["data"])
        with pytest.raises(LexiconRefused):
            catalogue.check_record(data["$type"], data)


def test_every_method_of_the_vectors_catalogue_compiles(catalogue: Catalogue) -> None:
    query = catalogue.methods["example.lexicon.query"]
    procedure = catalogue.methods["example.lexicon.procedure"]
    subscription = catalogue.methods["example.lexicon.subscription"]

    assert query.params({"stringField": "x", "array": ["1", "2"]}) == {"stringField": "x", "array": [1, 2]}
    assert query.errors == {"DemoError", "AnotherDemoError"}
    procedure.check_input({"preferences": [{"$type": "app.bsky.actor.defs#adultContentPref", "enabled": True}]})
    subscription.check_message("#yo", {"seq": 1, "yo": True})


def test_the_shipped_documents_are_the_published_ones(vectors: Vectors) -> None:
    published = {}
    for path in vectors("bluesky-social/atproto/lexicons").rglob("*.json"):
        document = parse_lexicon(path.read_bytes())
        published[document.id] = document
    official = {nsid: document for nsid, document in published.items() if nsid.startswith(NAMESPACES)}

    shipped = dict(Shipped())

    assert len(shipped) == 394
    assert shipped.keys() == official.keys()
    assert shipped == official


def test_real_records_are_valid(vectors: Vectors) -> None:
    lines = vectors("bluesky-social/jetstream/internal/corpus/testdata/expected_v1.jsonl").read_text().splitlines()
    records = [json.loads(line).get("commit", {}).get("record") for line in lines]
    verdicts = [load().check_record(record["$type"], from_json(record)) for record in records if record]

    assert verdicts.count("valid") > 50
