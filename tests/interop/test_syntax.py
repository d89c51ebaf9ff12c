"""Every line of the protocol's own syntax lists is accepted or refused as its file says."""

from __future__ import annotations

import json

import pytest

from schemas.cid import Cid
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
    SyntaxRefused,
    Uri,
)
from schemas.tid import Tid

SYNTAX = "bluesky-social/atproto-interop-tests/syntax"
KINDS = {
    "atidentifier": AtIdentifier,
    "aturi": AtUri,
    "cid": CidText,
    "datetime": Datetime,
    "did": Did,
    "handle": Handle,
    "language": Language,
    "nsid": Nsid,
    "recordkey": RecordKey,
    "tid": Tid,
    "uri": Uri,
}
FILES = [f"{kind}_syntax_{verdict}.txt" for kind in KINDS for verdict in ("valid", "invalid")]
FILES += ["datetime_parse_invalid.txt", "language_parse_invalid.txt"]
# In this copy of the lists nothing but comments is left of it.
MAY_BE_EMPTY = {"language_parse_invalid.txt"}


def lines_of(path):
    """The lines as they are, spaces included, without comments and blank lines."""
    lines = path.read_bytes().decode().split("\n")
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", FILES)
def test_each_line_is_accepted_or_refused_as_its_file_says(vectors, name):
    kind = KINDS[name.split("_")[0]]
    lines = lines_of(vectors(f"{SYNTAX}/{name}"))
    wanted = not name.endswith("_invalid.txt")

    for line in lines:
        try:
            kind.parse(line)
            accepted = True
        except SyntaxRefused:
            accepted = False
        assert accepted is wanted, repr(line)
        assert kind.is_valid(line) is wanted, repr(line)
    assert lines or name in MAY_BE_EMPTY


def test_no_list_is_left_out(vectors):
    names = {path.name for path in vectors(SYNTAX).glob("*.txt")}

    assert names == set(FILES)


def test_the_directorys_known_bad_operations_have_good_cids(vectors):
    """They name operations that break the rules; as CIDs there is nothing wrong with them."""
    texts = json.loads(vectors("did-method-plc/go-didplc/testdata/known_bad_cids.json").read_text())

    assert len(texts) > 5_000
    for text in texts:
        cid = Cid.parse(text)
        assert str(cid) == text
        assert cid.is_blessed


def test_the_directorys_known_bad_dids_are_well_formed(vectors):
    texts = json.loads(vectors("did-method-plc/go-didplc/testdata/known_bad_dids.json").read_text())

    assert len(texts) > 5_000
    assert all(map(Did.is_valid, texts))
