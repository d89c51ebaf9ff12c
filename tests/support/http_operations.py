"""What accounts set in the AppView, over HTTP: the call of a step, and what was acknowledged. Does not own calling."""

from __future__ import annotations

from typing import Any

import apsw

from tests.oracle.model import Model
from tests.support.random_network import CID, Operate

Key = tuple[str, str, str]


def call_of(step: Operate) -> tuple[str, dict[str, Any]]:
    """(method, body)."""
    there = step.value is not None
    if step.kind == "mute":
        if step.value is None:
            return "app.bsky.graph.unmuteActor", {"actor": step.subject}
        scopes = {"onlyReposts": bool(step.value[0] & 1), "onlyQuoteposts": bool(step.value[0] & 2)}
        return "app.bsky.graph.muteActor", {"actor": step.subject, **scopes}
    if step.kind == "bookmark":
        body = {"uri": step.subject, "cid": CID}
        return (
            ("app.bsky.bookmark.createBookmark", body)
            if there
            else (
                "app.bsky.bookmark.deleteBookmark",
                {"uri": step.subject},
            )
        )
    return f"app.bsky.graph.{'muteThread' if there else 'unmuteThread'}", {"root": step.subject}


class Acknowledged:
    """The last value of each key that a caller was told of; of calls without an answer, both that it may be."""

    def __init__(self) -> None:
        self.values: dict[Key, bytes | None] = {}
        self._unsure: dict[Key, tuple[bytes | None, bytes | None]] = {}

    def begin(self, step: Operate) -> None:
        key = (step.did, step.kind, step.subject)
        self._unsure[key] = (self.values.get(key), step.value)

    def answered(self, step: Operate, *, taken: bool) -> None:
        key = (step.did, step.kind, step.subject)
        del self._unsure[key]
        if taken:
            self.values[key] = step.value

    def forget(self, did: str) -> None:
        """The account goes, and what it has set with it."""
        self.values = {key: value for key, value in self.values.items() if key[0] != did}

    def check(self, model: Model) -> None:
        """What was acknowledged is there and nothing else; what was not is as before or as asked for."""
        for key, either in self._unsure.items():
            found = _found(model, key)
            assert found in either, f"{key}: {found}, expected one of {either}"
            self.values[key] = found
        self._unsure = {}
        differing = {key: (value, _found(model, key)) for key, value in self.values.items()}
        differing = {key: pair for key, pair in differing.items() if pair[0] != pair[1]}
        assert not differing, f"acknowledged, and in the log: {differing}"


def _found(model: Model, key: Key) -> bytes | None:
    did, kind, subject = key
    return model.own(did, kind).get(subject, (0, None))[1]


def read_operations(connection: apsw.Connection, model: Model) -> None:
    """What the log file holds, into the model."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name='operations'").fetchall():
        rows = connection.execute("SELECT time, did, kind, subject, value FROM operations").fetchall()
        model.operations = [tuple(row) for row in rows]
