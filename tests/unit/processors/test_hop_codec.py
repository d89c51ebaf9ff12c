"""Bytes of hops: what goes in comes out, and what another release wrote is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.lanes.hop_codec import Watermark, decode, encode_edge, encode_fan, encode_watermark
from schemas.errors import InvariantError
from schemas.syntax import Handle
from views.view import Edge, Fan

NUMBERS = st.integers(-(2**63), 2**63 - 1)
CELLS = st.one_of(st.none(), st.text(max_size=9), NUMBERS, st.binary(max_size=9))
ROWS = st.lists(st.lists(CELLS, max_size=5).map(tuple), max_size=3).map(tuple)
SOURCES = st.tuples(st.sampled_from(["records", "edges"]), NUMBERS, NUMBERS, NUMBERS)
DELTAS = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=3).map(tuple)
TEXTS = st.lists(st.text(max_size=9), max_size=5).map(tuple)


@given(
    st.builds(Edge, SOURCES, st.text(max_size=9), st.text(max_size=9), ROWS, ROWS, ROWS.map(lambda x: x[:1]), DELTAS)
)
def test_an_edge_comes_out_as_it_went_in(edge):
    edge = Edge(edge.src, edge.view, edge.subject, edge.drops, edge.puts, sum(edge.counted, ()), edge.deltas)

    assert decode(encode_edge(edge)) == edge


@given(st.builds(Fan, SOURCES, TEXTS, ROWS, ROWS, st.none() | NUMBERS))
def test_a_fan_comes_out_as_it_went_in(fan):
    assert decode(encode_fan(fan)) == fan


@given(st.builds(Watermark, st.integers(0, 99), st.lists(st.integers(0, 2**60), max_size=4).map(tuple)))
def test_a_watermark_comes_out_as_it_went_in(watermark):
    assert decode(encode_watermark(watermark)) == watermark


def test_a_handle_travels_as_text():
    edge = Edge(("records", 0, 1, 0), "handles", "a.test", (), ((Handle("a.test"), "did:plc:a", 1),))

    (row,) = decode(encode_edge(edge)).puts

    assert type(row[0]) is str


@pytest.mark.parametrize(
    "value", [b"", b"\x01", b"\x02\x01\x90", b"\x01\x04\x90", b"\x01\x00\x90", b"\x01\x01\x90", b"\x01\x03\xc1"]
)
def test_what_is_of_another_release_or_damaged_is_refused(value):
    with pytest.raises(InvariantError, match="build a new generation"):
        decode(value)


def test_a_cut_message_is_refused():
    whole = encode_fan(Fan(("edges", 0, 1, 0), ("did:plc:a",), (), ((1, "at://x", "", "y"),)))

    for length in range(len(whole)):
        with pytest.raises(InvariantError):
            decode(whole[:length])
