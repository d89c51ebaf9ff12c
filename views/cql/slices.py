"""A slice between two keys, in the ranges that CQL can read: in one range all columns that bound it run one way.

CQL compares tuples by value, so a bound in a key of mixed directions is several ranges, one after the other in
clustering order: at most two for each turn of direction and bound. Does not own statements' other parts
(`views.cql.text`) nor the limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from views.cql.text import equal, quoted
from views.table import Column, Key, Table


class Range(NamedTuple):
    """A WHERE clause and the values of its parameters."""

    where: str
    values: Key


class _Run(NamedTuple):
    """Values for neighbouring columns of one direction; as many as the run has, or fewer at a bound's end."""

    columns: tuple[Column, ...]
    descending: bool
    values: Key


def ranges(table: Table, prefix: Key, after: Key | None, until: Key | None, *, reverse: bool) -> list[Range]:
    """What `views.store.Store.slice` is asked for, in the order its rows are wanted; none when nothing can match."""
    fixed = equal((table.partition + table.clustering)[: len(prefix)])
    following = table.clustering[len(prefix) - table.partition_size :]
    if not after and not until:
        return [Range(fixed, prefix)]
    lower = _runs(following, after or (), reverse=reverse)
    upper = _runs(following, until or (), reverse=reverse)
    return _between(Range(fixed, prefix), lower, upper)


def _runs(columns: Sequence[Column], values: Key, *, reverse: bool) -> list[_Run]:
    runs: list[_Run] = []
    for place, value in enumerate(values):
        column = columns[place]
        descending = column.descending != reverse
        if runs and runs[-1].descending == descending:
            last = runs[-1]
            runs[-1] = _Run((*last.columns, column), descending, (*last.values, value))
        else:
            runs.append(_Run((column,), descending, (value,)))
    return runs


def _between(at: Range, lower: Sequence[_Run], upper: Sequence[_Run]) -> list[Range]:
    """Rows of `at` beyond `lower` and up to `upper` (included); a bound without runs bounds nothing."""
    first = lower[0] if lower else None
    last = upper[0] if upper else None
    if first is not None and last is not None:
        width = min(len(first.values), len(last.values))
        one, other = first.values[:width], last.values[:width]
        if one != other and (one > other) != first.descending:
            return []
        # `after` leaves out all that is equal to it: nothing is left when `until` only goes on where it ends.
        if one == other and len(lower) == 1 and len(first.values) == width:
            return []
        if first.values == last.values:
            return _between(_fixed(at, first), lower[1:], upper[1:])
    found: list[Range] = []
    if first is not None and len(lower) > 1:
        found += _between(_fixed(at, first), lower[1:], ())
    found.append(_middle(at, first, last, included=len(upper) == 1))
    if last is not None and len(upper) > 1:
        found += _between(_fixed(at, last), (), upper[1:])
    return found


def _fixed(at: Range, run: _Run) -> Range:
    return Range(f"{at.where} AND {equal(run.columns)}", at.values + run.values)


def _middle(at: Range, first: _Run | None, last: _Run | None, *, included: bool) -> Range:
    # CQL takes two bounds on a column only in one notation.
    tuples = any(run is not None and len(run.columns) > 1 for run in (first, last))
    where, values = at
    if first is not None:
        where += _compare(first, "<" if first.descending else ">", tuples=tuples)
        values += first.values
    if last is not None:
        where += _compare(last, (">" if last.descending else "<") + ("=" if included else ""), tuples=tuples)
        values += last.values
    return Range(where, values)


def _compare(run: _Run, operator: str, *, tuples: bool) -> str:
    names = ", ".join(map(quoted, run.columns))
    marks = ", ".join("?" * len(run.columns))
    return f" AND ({names}) {operator} ({marks})" if tuples else f" AND {names} {operator} {marks}"
