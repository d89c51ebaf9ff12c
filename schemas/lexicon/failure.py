"""Why a value does not hold: `Failure` inside the validators, `LexiconRefused` to their callers.

The words are those of the reference (@atproto/lexicon), because people search for them; only its "characters" are
"bytes" here, which is what it counts. Does not own the error names of XRPC.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from schemas.errors import Refused


class LexiconReason(StrEnum):
    """Which kind of rule of the lexicon is broken."""

    TYPE = "lexicon_type"
    REQUIRED = "lexicon_required"
    VALUE = "lexicon_value"
    LENGTH = "lexicon_length"
    GRAPHEMES = "lexicon_graphemes"
    FORMAT = "lexicon_format"
    UNION = "lexicon_union"
    BLOB = "lexicon_blob"
    KEY = "lexicon_key"
    DOCUMENT = "lexicon_document"


class LexiconRefused(Refused):
    """A value that its lexicon does not allow.

    `path` leads to the place ("Record/embed/images/0/alt"), `message` is the whole sentence, and so is `str`.
    """

    reason: LexiconReason

    def __init__(self, path: str, message: str, reason: LexiconReason = LexiconReason.TYPE) -> None:
        super().__init__(reason, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return self.message


class Failure:
    """What a validator returns instead of None; each level adds its step on the way out, innermost first."""

    __slots__ = ("reason", "said", "steps")

    def __init__(self, reason: LexiconReason, said: str) -> None:
        self.reason = reason
        self.said = said
        self.steps: list[str | int] = []

    def at(self, root: str) -> LexiconRefused:
        """The error, with its path from `root`."""
        path = "/".join([root, *map(str, reversed(self.steps))])
        return LexiconRefused(path, f"{path} {self.said}", self.reason)


Check = Callable[[object], Failure | None]
"""A compiled validator of data-model values; total: it returns, whatever the value is."""
