"""The two families of error.

*The network is wrong*: `Refused` and `XrpcError`. Somebody else's bytes, request or timing; dropped at ingest with a
counted reason, or answered with an XRPC error. *We are wrong*: `InvariantError`. Never caught to go on: the process
or the shard stops, loudly.

Does not own the reasons of one stage (each stage has its own `Reason` enum beside its code).
"""

from __future__ import annotations

from enum import StrEnum


class Refused(Exception):  # noqa: N818 - an outcome of correct work, not a fault of ours
    """Input from outside that does not hold; `reason` is a bounded label, `detail` says expected, found and cure."""

    def __init__(self, reason: StrEnum, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class XrpcError(Exception):
    """A request that is answered with `{error, message}` (https://atproto.com/specs/xrpc#error-responses).

    `name` is the lexicon's or the protocol's error name, `status` the HTTP status.
    """

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message
        self.status = status


class InvariantError(Exception):
    """Our own state contradicts itself. The message says what was expected, what was found and where to look."""
