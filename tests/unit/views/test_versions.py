"""`views.versions`: the order of versions is the order of the log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvariantError
from views.versions import DELETE, EPOCH_MAX, PUT, version

places = st.tuples(st.integers(0, EPOCH_MAX), st.integers(0, (1 << 40) - 1), st.sampled_from([DELETE, PUT]))
FIRST_OF_2026 = 1_767_225_600_000_000


@given(places, places)
def test_versions_are_ordered_as_epoch_offset_and_put_above_delete(one, other):
    assert (version(*one) < version(*other)) == (one < other)


@given(places)
def test_a_version_is_below_whatever_a_clock_would_stamp(place):
    assert 0 <= version(*place) < FIRST_OF_2026


@pytest.mark.parametrize("offset", [-1, 1 << 40])
def test_an_offset_without_room_is_refused(offset):
    with pytest.raises(InvariantError, match=r"2\*\*40"):
        version(0, offset, PUT)


@pytest.mark.parametrize("epoch", [-1, EPOCH_MAX + 1])
def test_an_epoch_at_the_clock_is_refused(epoch):
    with pytest.raises(InvariantError, match="microseconds of today"):
        version(epoch, 0, PUT)
