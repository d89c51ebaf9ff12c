"""Lexicons: the official documents as data, compiled into fast validators of parameters, bodies and records.

Source: https://atproto.com/specs/lexicon. Values are those of the data model (`Cid` for links, `bytes` for bytes).
Does not own JSON or CBOR, nor what a server answers to a refusal.
"""

from __future__ import annotations

from functools import cache

from schemas.lexicon.catalogue import Catalogue
from schemas.lexicon.document import Document, parse_lexicon
from schemas.lexicon.failure import LexiconReason, LexiconRefused
from schemas.lexicon.method import Method
from schemas.lexicon.shipped import Shipped

__all__ = ["Catalogue", "Document", "LexiconReason", "LexiconRefused", "Method", "load", "parse_lexicon"]


@cache
def load() -> Catalogue:
    """The catalogue of the official lexicons: com.atproto, app.bsky, chat.bsky, tools.ozone."""
    return Catalogue(Shipped())
