"""Looks at answers: is this what was asked for? Pure; each function says what is wrong, or None.

Does not own which answers are looked at (`readers.py`) nor what must have happened before (`checks.py`, `tally.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec


def read(operation: str, asked: str, limit: int, body: bytes) -> str | None:
    """Of an answer to a read. `asked` is a DID, a post, or posts with spaces between."""
    try:
        answer = msgspec.json.decode(body)
        if operation in {"getTimeline", "getAuthorFeed"}:
            return feed(answer["feed"], limit, asked if operation == "getAuthorFeed" else None)
        if operation == "getProfile":
            return None if answer["did"] == asked else f"asked for {asked}, found {answer['did']}"
        if operation == "getPostThread":
            found = answer["thread"]["post"]["uri"]
            return None if found == asked else f"asked for {asked}, found {found}"
        uris = [each["uri"] for each in answer["posts"]]
        return None if sorted(uris) == sorted(asked.split()) else f"asked for {asked}, found {' '.join(uris)}"
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        return f"not the answer of {operation}: {type(error).__name__} {error}"


def feed(items: list[dict[str, Any]], limit: int, author: str | None) -> str | None:
    """Of a feed: not longer than asked, nothing twice, and of one author if asked."""
    if len(items) > limit:
        return f"expected {limit} items at most, found {len(items)}"
    keys = [key(item) for item in items]
    twice = next((each for each in keys if keys.count(each) > 1), None) if len(set(keys)) != len(keys) else None
    if twice is not None:
        return f"{twice[0]} is there {keys.count(twice)} times"
    strangers = [each for each in keys if author is not None and author not in (each[1] or each[0])]
    return f"asked for {author}, found {strangers[0]}" if strangers else None


def key(item: dict[str, Any]) -> tuple[str, str]:
    """A post, and by whom it was reposted into the feed."""
    return str(item["post"]["uri"]), str(item.get("reason", {}).get("by", {}).get("did", ""))
