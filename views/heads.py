"""The rev an account has reached in the views: what `Atproto-Repo-Rev` says.

Beside `actors` and not in it, so that a commit does not rewrite a profile.
"""

from __future__ import annotations

from views.table import Table, integer, text

TABLE = Table(
    "heads",
    "records",
    partition=(text("did", "account"),),
    columns=(text("rev", "TID of the newest commit seen"), integer("offset", "of its entry in `records`")),
)
