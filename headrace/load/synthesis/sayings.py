"""What accounts say: the text of a post with its languages, links and mentions, and the description of a profile.

Does not own words (`text.py`), who says something and to whom (`plan.py`) nor how often (`model.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.load.synthesis import model
from headrace.load.synthesis.streams import quantile, slots
from headrace.load.synthesis.text import Words

_DESCRIBED = 6  # words of a description
_URLS = 100_000
_WITHOUT = {"none", "other"}  # languages that a post does not name


class Sayings:
    """Of a seed, by numbers of 0 <= x < 1 that `draw` gives."""

    def __init__(self, seed: int, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._words = Words(seed)
        self._languages = slots(model.LANGUAGES)

    def post(self, mentioned: Callable[[], tuple[str, str]]) -> dict[str, Any]:
        """A post's record but for its time and what it answers and quotes.

        `mentioned` draws whom a mention is of: DID and handle.
        """
        draw = self._draw
        language = self._languages[int(draw() * len(self._languages))]
        said = self._pick(language, quantile(model.WORDS, draw()))
        record: dict[str, Any] = {"$type": "app.bsky.feed.post"}
        if language not in _WITHOUT:
            record["langs"] = [language]
        chance = draw() * 1_000
        if chance < model.LINKS:
            url = f"https://example.com/{int(draw() * _URLS)}"
            record["facets"] = [_facet(said, url, {"$type": "app.bsky.richtext.facet#link", "uri": url})]
        elif chance < model.LINKS + model.MENTIONS:
            did, name = mentioned()
            record["facets"] = [_facet(said, f"@{name}", {"$type": "app.bsky.richtext.facet#mention", "did": did})]
        record["text"] = " ".join(said)
        return record

    def description(self) -> str:
        return " ".join(self._pick("en", _DESCRIBED))

    def _pick(self, language: str, count: int) -> list[str]:
        draw, words = self._draw, self._words.of(language)
        known = len(words)
        return [words[int(draw() * known)] for _ in range(count)]


def _facet(said: list[str], word: str, feature: dict[str, str]) -> dict[str, Any]:
    """Put a word at the end and say what it is."""
    said.append(word)
    end = len(" ".join(said).encode())
    return {"index": {"byteStart": end - len(word.encode()), "byteEnd": end}, "features": [feature]}
