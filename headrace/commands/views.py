"""`headrace views build|list|diff|flip|drop` and `headrace log skip|skips`.

Where a broker and a store are set they are asked; else the process that serves the data directory; else the directory
itself. Does not own what they do (`headrace/commands/views_live.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import msgspec
from cyclopts import Parameter

from headrace import client, logs
from headrace.commands.common import (
    DONE,
    FAILED,
    IN_USE,
    REFUSED,
    USAGE,
    Config,
    Data,
    Json,
    Sets,
    fail,
    settings_of,
    show,
)
from headrace.commands.views_live import COMMANDS, Arguments
from headrace.lock import DirectoryError, LockedError
from headrace.settings import Settings
from schemas.errors import InvariantError
from views.generations import GenerationError

Name = Annotated[str, Parameter(help="A generation, as `headrace views list` names it.")]


def build(
    name: Annotated[str | None, Parameter(help="Its name; the next of g1, g2, ... when left out.")] = None,
    *,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Build another generation of all views from the start of the log, beside the one that is read."""
    return _do("views/build", Arguments(name=name), data, config, sets, as_json=as_json)


def list_(*, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False) -> int:
    """Show the generations: building, ready, live or retired, and how far behind the log each is."""
    return _do("views/list", Arguments(), data, config, sets, as_json=as_json)


def diff(
    left: Name,
    right: Name,
    *,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Compare two generations at the same place of the log; exit code 1 when they differ, with the rows named."""
    return _do("views/diff", Arguments(name=left, other=right), data, config, sets, as_json=as_json)


def flip(name: Name, *, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False) -> int:
    """Let readers read this generation, in one step; the one they read goes on until it is dropped."""
    return _do("views/flip", Arguments(name=name), data, config, sets, as_json=as_json)


def drop(name: Name, *, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False) -> int:
    """End a generation that is not read, and delete its rows."""
    return _do("views/drop", Arguments(name=name), data, config, sets, as_json=as_json)


def skip(
    topic: Annotated[str, Parameter(help="The topic, as the message of the shard that stopped says.")],
    shard: Annotated[int, Parameter(help="Its shard.")],
    offset: Annotated[int, Parameter(help="The entry's offset.")],
    *,
    reason: Annotated[str, Parameter(help="Why; it is kept.")],
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Leave one entry out of every generation from the next start on, and keep the reason."""
    arguments = Arguments(topic=topic, shard=shard, offset=offset, reason=reason)
    return _do("log/skip", arguments, data, config, sets, as_json=as_json)


def skips(*, data: Data = None, config: Config = None, sets: Sets = None, as_json: Json = False) -> int:
    """Show the entries that were left out, and why."""
    return _do("log/skips", Arguments(), data, config, sets, as_json=as_json)


def _do(
    command: str, arguments: Arguments, data: Path | None, config: Path | None, sets: list[str] | None, *, as_json: bool
) -> int:
    settings = settings_of({"data": data}, config, sets)
    logs.configure(settings.log_level)
    try:
        answer = asyncio.run(_ask(settings, command, arguments))
    except (client.RefusedError, GenerationError) as error:
        return fail(REFUSED, str(error))
    except (DirectoryError, InvariantError) as error:
        return fail(USAGE if isinstance(error, DirectoryError) else FAILED, str(error))
    except (LockedError, client.NotRunningError) as error:
        return fail(IN_USE, str(error))
    show(answer, as_json=as_json)
    return FAILED if answer.get("equal") is False else DONE


async def _ask(settings: Settings, command: str, arguments: Arguments) -> dict[str, Any]:
    if settings.cql_hosts and settings.kafka_servers:
        from headrace.wiring.generations import in_cluster  # noqa: PLC0415 - as below

        async with in_cluster(settings) as cluster:
            return await COMMANDS[command](cluster, arguments)
    if client.is_running(settings.data):
        return await client.send(settings.data, command, _body(arguments), f"headrace {command.replace('/', ' ')}")
    from headrace.wiring.views import at_rest  # noqa: PLC0415 - `headrace --help` need not load the whole house

    async with at_rest(settings) as generations:
        answer = await COMMANDS[command](generations, arguments)
        if command == "views/build":
            await generations.settled()  # nobody else would go on with it
            answer = await COMMANDS["views/list"](generations, arguments)
        return answer


async def _body(arguments: Arguments) -> AsyncIterator[bytes]:
    yield msgspec.json.encode(arguments)


def groups() -> tuple[cyclopts.App, cyclopts.App]:
    """The two groups of commands."""
    views = cyclopts.App(name="views", help="Generations of the views: build, compare and change what is read.")
    for command in (build, diff, flip, drop):
        views.command(command)
    views.command(list_, name="list")
    log = cyclopts.App(name="log", help="Entries of the log that are left out of the views, by an operator's word.")
    log.command(skip)
    log.command(skips)
    return views, log
