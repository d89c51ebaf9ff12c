"""Typeahead: accounts under each prefix of 2 to 4 characters of their handle and display-name words.

Words are NFKC and casefolded. A longer query reads its first 4 characters' partition and filters.
"""

from __future__ import annotations

from views.table import Table, integer, text

TABLE = Table(
    "actors_by_prefix",
    "edges",
    partition=(text("prefix", "2 to 4 characters, NFKC, casefolded"),),
    clustering=(
        integer("rank", "0 for now"),
        text("handle", "empty when the account has none"),
        text("did", "account"),
    ),
    columns=(text("words", "casefolded words of the display name joined by spaces, for longer queries"),),
)
