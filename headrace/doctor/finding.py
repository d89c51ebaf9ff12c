"""What one check found, in one line: that it is well, or what was found, what was expected, and the cure.

Does not own what is checked (the files beside this).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from headrace.settings import SettingsError
from schemas.errors import InvariantError

# Of what one check found wrong in many places, so many are named.
NAMED = 5


class Finding(msgspec.Struct, frozen=True):
    """`message` is one line."""

    check: str
    well: bool
    message: str


Check = Callable[[], Awaitable[str] | str]


class WrongError(Exception):
    """A check found something wrong; the message says what was found, what was expected, and the cure."""


async def find(name: str, check: Check) -> Finding:
    """`check` returns what it found well, and raises for what is not; any other error is ours."""
    try:
        answer = check()
        return Finding(name, True, _line(answer if isinstance(answer, str) else await answer))
    except (WrongError, InvariantError, SettingsError) as error:
        return Finding(name, False, _line(str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        cure = "make it, or name another" if isinstance(error, FileNotFoundError) else "run this as its owner"
        return Finding(name, False, _line(f"{where}expected to be read, found {error.strerror or error}: {cure}"))


def some(names: list[str]) -> str:
    """A list that ends, however much there is."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def document(findings: list[Finding]) -> dict[str, Any]:
    return {"well": all(each.well for each in findings), "checks": [msgspec.to_builtins(each) for each in findings]}


def _line(text: str) -> str:
    return " ".join(text.split())
