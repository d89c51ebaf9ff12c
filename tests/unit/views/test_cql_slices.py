"""`views.cql.slices`: every bound is a bounded number of ranges, each in a notation that CQL has.

That the ranges hold the right rows is the contract's to show (tests/contracts/test_store.py), on a real store.
"""

from __future__ import annotations

import itertools
import re

import pytest

from views.cql.slices import ranges
from views.table import Table, integer, text

TABLE = Table(
    "t",
    "records",
    partition=(text("p", ""),),
    clustering=(integer("a", "", descending=True), text("b", ""), text("c", ""), integer("d", "", descending=True)),
)
KEYS = [(1, "x", "y", 2)[:n] for n in range(1, 5)] + [(2, "w", "z", 1)[:n] for n in range(1, 5)]


@pytest.mark.parametrize("reverse", [False, True])
def test_a_bound_is_at_most_two_ranges_for_each_turn_of_direction(reverse):
    seen = set()
    for after, until in itertools.product([None, *KEYS], repeat=2):
        found = ranges(TABLE, ("k",), after, until, reverse=reverse)
        seen.add(len(found))
        assert len(found) <= 5
        for where, values in found:
            assert where.count("?") == len(values)
            # A column is bounded in one notation: alone, or in tuples.
            bounds = re.findall(r"(\(?)\"(\w)\"[^=<>]* [<>]", where)
            assert len({notation for notation, _ in bounds}) <= 1
    assert seen == {0, 1, 2, 3, 4, 5}


def test_the_next_page_of_equal_sort_keys_is_read_first():
    first, second = ranges(TABLE, ("k",), (5, "x", "y"), None, reverse=False)

    assert first == ('"p" = ? AND "a" = ? AND ("b", "c") > (?, ?)', ("k", 5, "x", "y"))
    assert second == ('"p" = ? AND "a" < ?', ("k", 5))


def test_a_slice_without_bounds_is_one_statement():
    assert ranges(TABLE, ("k", 1), None, None, reverse=True) == [('"p" = ? AND "a" = ?', ("k", 1))]


def test_nothing_is_between_a_key_and_itself():
    assert ranges(TABLE, ("k",), (1, "x"), (1, "x"), reverse=False) == []
    assert ranges(TABLE, ("k",), (1,), (1, "x", "y"), reverse=False) == []
    assert ranges(TABLE, ("k",), (1,), (2,), reverse=False) == []
