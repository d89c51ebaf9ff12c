"""Digests and diffs of whole copies: what counts, what does not, and that a difference is named."""

from __future__ import annotations

import random

import pytest

from processors.digest import digest, measure
from processors.rebuild import diff as rebuild_diff
from processors.rebuild.diff import compare
from views.table import APPLIED, Table, integer, text
from views.view import View

TABLE = Table(
    "followed",
    "edges",
    partition=(text("did", ""),),
    clustering=(text("actor", ""),),
    columns=(text("uri", ""), integer("offset", "")),
    statics=(integer("count", ""), APPLIED),
)
VIEW = View(TABLE)
ROWS = [(f"did{n % 50}", f"actor{n}", f"uri{n}", n) for n in range(1, 2_000)]
STATICS = [(f"did{n}", n, 7 * n) for n in range(50)]


class Copy:
    def __init__(self, rows=ROWS, statics=STATICS):
        self.rows, self.statics = rows, statics

    def scan(self, _):
        return list(self.rows)

    def scan_statics(self, _):
        return list(self.statics)


class Streamed(Copy):
    """As a store answers that gives its rows in the order of hashes, page by page."""

    async def scan(self, _):
        for row in random.Random(3).sample(self.rows, len(self.rows)):
            yield list(row)

    async def scan_statics(self, _):
        for row in reversed(self.statics):
            yield row


async def test_a_digest_does_not_depend_on_the_order_nor_on_how_rows_are_given():
    assert (await measure(Streamed(), TABLE)).digest() == digest(Copy(), TABLE)


def test_versions_and_counts_of_zero_do_not_count():
    shifted = [(*row[:3], row[3] + 9) for row in ROWS]
    statics = [(did, count, applied + 1) for did, count, applied in STATICS if count]

    assert digest(Copy(shifted, statics), TABLE) == digest(Copy(), TABLE)


@pytest.mark.parametrize(
    "copy",
    [
        Copy(ROWS[1:]),
        Copy([*ROWS, ("did1", "new", "", 0)]),
        Copy([(*ROWS[0][:2], "other", 1), *ROWS[1:]]),
        Copy(ROWS, [*STATICS[:-1], ("did49", 50, 0)]),
        Copy([*ROWS, ROWS[0]]),
    ],
)
def test_any_other_row_is_another_digest(copy):
    assert digest(copy, TABLE) != digest(Copy(), TABLE)


@pytest.mark.parametrize("held", [10, 200_000])
async def test_rows_that_differ_are_named_whichever_copy_has_them(monkeypatch, held):
    monkeypatch.setattr(rebuild_diff, "_HELD", held)
    changed, gone, *rest = ROWS
    other = Streamed([(*changed[:2], "other", 1), *rest, ("did9", "new", "u", 1)], [*STATICS[:-1], ("did49", 50, 0)])

    (found,) = await compare(Copy(), other, [VIEW])

    assert found.left != found.right
    assert found.lines == (1999 + 49, 1999 + 49)
    assert 1 <= found.buckets <= 4
    named = {(row.key, row.statics): (row.left, row.right) for row in found.rows}
    assert named == {
        (changed[:2], False): (changed[:3], (*changed[:2], "other")),
        (gone[:2], False): (gone[:3], None),
        (("did9", "new"), False): (None, ("did9", "new", "u")),
        (("did49",), True): (("did49", 49), ("did49", 50)),
    }


async def test_no_more_rows_are_named_than_asked_for():
    (found,) = await compare(Copy(), Copy([]), [VIEW], most=7)

    assert len(found.rows) == 7


async def test_equal_copies_have_nothing_to_name():
    (found,) = await compare(Copy(), Streamed(), [VIEW])

    assert (found.buckets, found.rows) == (0, ())
    assert found.left == found.right
