"""The quick yes of AT-URIs against the parts, each by its own type."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas import syntax
from schemas.syntax import Did, Nsid, RecordKey


@given(st.from_regex(syntax._USUAL_AT_URI.__self__, fullmatch=True))
def test_a_usual_at_uri_has_three_valid_parts(uri: str) -> None:
    scheme, empty, did, collection, rkey = uri.split("/")

    assert (scheme, empty) == ("at:", "")
    assert Did.is_valid(did)
    assert Nsid.is_valid(collection)
    assert RecordKey.is_valid(rkey)
