"""`headrace views` and `headrace log` as functions of what keeps the generations, wherever that runs.

A running process answers them on its ops listener (`hooks`), a directory at rest in the command's own process.
Does not own what they do (`processors.rebuild.builds`) nor how they are typed (`headrace/commands/views.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from processors.rebuild.builds import Generations, Standing, summary
from schemas.datetimes import from_micros
from schemas.errors import Refused
from views.generations import GenerationError, Skip

_BODY_MAX = 4_096


class Reason(StrEnum):
    """Why a command was not carried out."""

    COMMAND = "command_refused"


class Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of any of the commands; each reads its own."""

    name: str | None = None
    other: str = ""
    topic: str = ""
    shard: int = 0
    offset: int = 0
    reason: str = ""


class Kept(Generations, Protocol):
    """Generations, and the entries that are left out of them."""

    async def skip(self, topic: str, shard: int, offset: int, reason: str) -> Skip: ...

    async def skips(self) -> list[Skip]: ...


Command = Callable[[Kept, Arguments], Awaitable[dict[str, Any]]]


async def _build(generations: Kept, arguments: Arguments) -> dict[str, Any]:
    return _standing(await generations.build(arguments.name))


async def _list(generations: Kept, _: Arguments) -> dict[str, Any]:
    return {each.name: _standing(each) for each in await generations.all()}


async def _diff(generations: Kept, arguments: Arguments) -> dict[str, Any]:
    return summary(await generations.diff(arguments.name or "", arguments.other))


async def _flip(generations: Kept, arguments: Arguments) -> dict[str, Any]:
    return _standing(await generations.flip(arguments.name or ""))


async def _drop(generations: Kept, arguments: Arguments) -> dict[str, Any]:
    return {"dropped": (await generations.drop(arguments.name or "")).name}


async def _skip(generations: Kept, arguments: Arguments) -> dict[str, Any]:
    return _skipped(await generations.skip(arguments.topic, arguments.shard, arguments.offset, arguments.reason))


async def _skips(generations: Kept, _: Arguments) -> dict[str, Any]:
    return {f"{skip.topic}[{skip.shard}]@{skip.offset}": _skipped(skip) for skip in await generations.skips()}


COMMANDS: Final[Mapping[str, Command]] = {
    "views/build": _build,
    "views/list": _list,
    "views/diff": _diff,
    "views/flip": _flip,
    "views/drop": _drop,
    "log/skip": _skip,
    "log/skips": _skips,
}


def hooks(generations: Kept) -> dict[str, Callable[[AsyncIterator[bytes]], Awaitable[dict[str, Any]]]]:
    """By path of the ops listener; the body is `Arguments` as JSON."""
    return {f"/{name}": partial(_answer, generations, command) for name, command in COMMANDS.items()}


async def _answer(generations: Kept, command: Command, pieces: AsyncIterator[bytes]) -> dict[str, Any]:
    body = b""
    async for piece in pieces:
        body += piece
        if len(body) > _BODY_MAX:
            raise Refused(Reason.COMMAND, f"expected at most {_BODY_MAX} bytes of arguments")
    try:
        return await command(generations, msgspec.json.decode(body or b"{}", type=Arguments))
    except (GenerationError, msgspec.DecodeError) as error:
        raise Refused(Reason.COMMAND, str(error)) from error


def _standing(standing: Standing) -> dict[str, Any]:
    found = {"generation": standing.name, "state": standing.state, "created": from_micros(standing.created)}
    return found | {"behind": standing.behind, "fault": standing.fault}


def _skipped(skip: Skip) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(skip)
    return found | {"time": from_micros(skip.time)}
