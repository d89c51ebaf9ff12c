"""Comparing two copies that follow one log at their own pace: lag is no difference, a row that stays another is one."""

from __future__ import annotations

import pytest

from processors.rebuild.moving import compare_moving
from views.table import APPLIED, Table, integer, text
from views.view import View

TABLE = Table(
    "counted",
    "edges",
    partition=(text("did", ""),),
    clustering=(text("actor", ""),),
    columns=(text("uri", ""),),
    statics=(integer("count", ""), APPLIED),
)
VIEW = View(TABLE)


class Copy:
    """A store that has taken the first `at` entries of a log of ("did", "actor", "uri"); None deletes."""

    def __init__(self, log, at, spoil=lambda row: row):
        self.log, self.at, self.spoil = log, at, spoil

    def state(self):
        rows = {}
        for did, actor, uri in self.log[: self.at]:
            rows.pop((did, actor), None)
            if uri is not None:
                rows[did, actor] = uri
        return {key: row for key, uri in rows.items() if (row := self.spoil((*key, uri))) is not None}

    def scan(self, _):
        return list(self.state().values())

    def counts(self):
        found = {}
        for did, _ in self.state():
            found[did] = found.get(did, 0) + 1
        return found

    def scan_statics(self, _):
        return [(did, count, self.at) for did, count in self.counts().items()]

    async def get_many(self, _, keys):
        return [self.state().get(key) for key in keys]

    async def statics(self, _, partitions):
        return [(self.counts().get(did, 0), self.at) for (did,) in partitions]


def history(number):
    return [(f"did{n % 7}", f"actor{n % 31}", None if n % 5 == 0 else f"uri{n}") for n in range(number)]


async def moved(left, right, log):
    async def passed():
        """Whoever is behind reaches the end, and the log goes on; the other one follows it at once."""
        end = len(log)
        log.extend((f"did{n % 7}", f"actor{n % 31}", f"later{len(log) + n}") for n in range(3))
        left.at, right.at = end + 3, end

    return (await compare_moving(left, right, [VIEW], passed))[0]


@pytest.mark.parametrize("behind", [0, 1, 40])
async def test_a_copy_that_is_behind_is_equal(behind):
    log = history(200)
    found = await moved(Copy(log, 200), Copy(log, 200 - behind), log)

    assert found.left == found.right
    assert found.rows == ()


async def test_a_row_that_stays_another_is_named_among_those_that_move():
    log = history(200)
    log.append(("did1", "still", "uri"))

    def spoil(row):
        return (*row[:2], "other") if row[1] == "still" else row

    found = await moved(Copy(log, 201), Copy(log, 150, spoil), log)

    assert found.left != found.right
    assert [(row.key, row.left, row.right) for row in found.rows] == [
        (("did1", "still"), ("did1", "still", "uri"), ("did1", "still", "other"))
    ]


async def test_more_than_can_be_named_is_still_a_difference():
    log = [(f"did{n}", f"actor{n}", "uri") for n in range(300)]
    found = await moved(Copy(log, 300), Copy(log, 300, lambda row: (*row[:2], "other")), log)

    assert found.left != found.right
    assert 90 <= len(found.rows) <= 100  # less those that the log goes on to write
