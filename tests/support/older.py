"""A version of headrace whose views have another shape: `python -m tests.support.older up ...` as `headrace up ...`.

Its `follows_by_time` has a column more, and all else is this version's: what an upgrade begins with and goes back to.
"""

from __future__ import annotations

import views
from views import follows_by_time
from views.table import Table, text
from views.view import FOLLOWED, View

NAME = "tests.support.older"


def make_older() -> None:
    """Before anything else looks at the views."""
    now = follows_by_time.VIEW
    table = Table(
        now.table.name,
        now.table.source,
        partition=now.table.partition,
        clustering=now.table.clustering,
        columns=(*now.table.columns, text("rkey", "of the follow")),
    )
    rows = now.rows[FOLLOWED]
    follows_by_time.TABLE = table
    follows_by_time.VIEW = View(table, rows={FOLLOWED: lambda follow: [(*row, follow[2]) for row in rows(follow)]})
    views.ALL = tuple(follows_by_time.VIEW if view is now else view for view in views.ALL)


if __name__ == "__main__":
    make_older()
    from headrace.cli import main

    main()
