"""Cursors: what was written is read; anything else is refused, and nothing else is raised."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.appview.cursor import read_cursor, write_cursor
from schemas.errors import XrpcError


@given(st.integers(-(1 << 52), 1 << 52), st.text(max_size=200), st.text(max_size=200))
def test_a_position_survives_the_way_to_the_client_and_back(number, one, other):
    assert read_cursor({"cursor": write_cursor((number, one, other))}, int, str, str) == (number, one, other)


@given(st.text(max_size=300))
def test_any_text_is_a_position_or_refused(text):
    with suppress(XrpcError):
        found = read_cursor({"cursor": text}, int, str)
        assert found is None or [type(part) for part in found] == [int, str]


def test_none_and_empty_are_the_beginning():
    assert read_cursor({}, int) is None
    assert read_cursor({"cursor": ""}, int) is None


@pytest.mark.parametrize(
    "position", [(1,), (1, "a", "b"), ("1", "a"), (True, "a"), (1.5, "a"), (1 << 63, "a"), (None, "a")]
)
def test_a_position_of_another_list_is_refused(position):
    with pytest.raises(XrpcError):
        read_cursor({"cursor": write_cursor(position)}, int, str)


def test_a_cursor_is_bounded():
    with pytest.raises(XrpcError):
        read_cursor({"cursor": write_cursor((1, "a" * 9_000))}, int, str)
