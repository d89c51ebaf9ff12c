"""Holes in the numbers of `records`: only where compaction may have made them."""

from __future__ import annotations

import pytest

from processors.lanes.density import COMPACTION_LAG_MS, HOUR_MS, Density, GapError
from schemas.errors import InvariantError

NOW = 1_760_000_000_000
OLD = NOW - COMPACTION_LAG_MS - HOUR_MS


def test_dense_numbers_pass_and_the_newest_is_kept():
    density = Density(0, ())
    for n in (1, 2, 3):
        density.take(n, NOW - 10, 1000 + n, NOW)

    assert density.newest == (3, NOW - 10, 1003)


def test_a_hole_behind_a_young_entry_is_a_loss():
    density = Density(0, (3, NOW - HOUR_MS, 1), held=True)

    with pytest.raises(GapError, match=r"n=5 comes after n=3, expected n=4"):
        density.take(5, NOW, 1, NOW)


def test_a_hole_behind_an_old_entry_is_compactions():
    density = Density(0, (3, OLD, 1), held=True)
    density.take(5, OLD, 1, NOW)
    density.take(9, NOW, 1, NOW)

    with pytest.raises(GapError):
        density.take(11, NOW, 1, NOW)


@pytest.mark.parametrize("n", [2, 3])
def test_a_number_that_came_before_is_refused(n):
    density = Density(0, (3, NOW, 1), held=True)

    with pytest.raises(InvariantError, match="two writers"):
        density.take(n, NOW, 1, NOW)


def test_a_lane_does_not_go_on_where_compaction_may_have_been():
    """EXACTNESS 6: what it had sent and not saved may be gone."""
    stale = NOW - COMPACTION_LAG_MS + HOUR_MS // 2
    with pytest.raises(InvariantError, match="build a new generation"):
        Density(0, (3, OLD, 1)).take(4, stale, 1, NOW)

    Density(0, (3, OLD, 1), held=True).take(4, stale, 1, NOW)
    Density(0, ()).take(4, stale, 1, NOW)
    Density(0, (3, OLD, 1)).take(4, NOW - HOUR_MS, 1, NOW)


def test_a_live_lane_may_be_far_behind_once_it_has_begun():
    density = Density(0, (3, NOW, 1))
    density.take(4, NOW - 2 * HOUR_MS, 1, NOW)

    density.take(5, OLD, 1, NOW)


def test_an_entry_left_out_by_an_operator_leaves_no_hole():
    density = Density(0, (3, NOW, 1), held=True)
    density.skip()

    density.take(5, NOW, 1, NOW)
