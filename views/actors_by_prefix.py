"""Typeahead: accounts under each prefix of 2 to 4 characters of their handle and display-name words.

Words are NFKC and casefolded. A longer query reads its first 4 characters' partition and filters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from views.actors import TABLE as ACTORS
from views.table import Row, Table, integer, text
from views.view import ACTOR, View

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

LONGEST = 4
SHORTEST = 2
# Words an actor is found by; a longer display name is found by its first ones.
_WORDS = 16
_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """The words of a name or a query, as they are kept: NFKC, casefolded."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _rows(actor: Row) -> Sequence[Row]:
    if actor[_STATUS] == "deleted":
        return ()
    handle = actor[_HANDLE] or ""
    words = words_of(actor[_DISPLAY_NAME])[:_WORDS]
    # A handle is found by its beginning whole ("bob.example" by "bob."), a name by each word.
    found = [handle, *words] if handle else words
    prefixes = {word[:n] for word in found for n in range(SHORTEST, LONGEST + 1) if len(word) >= n}
    joined = " ".join(words)
    return [(prefix, 0, handle, actor[0], joined) for prefix in sorted(prefixes)]


_HANDLE, _STATUS, _DISPLAY_NAME = (ACTORS.index(name) for name in ("handle", "status", "display_name"))
VIEW = View(TABLE, rows={ACTOR: _rows})
