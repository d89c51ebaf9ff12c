"""The command line. stdout is data, stderr is progress and logs.

Exit codes: 0 done; 1 failed; 2 wrong usage or setting; 3 input refused (nothing, or not all of it, entered the log);
4 the data directory is in use. Does not own what commands do (`headrace/up.py`, `headrace/commands/ingest.py`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter

from headrace import client, logs
from headrace.commands import accounts as cli_accounts
from headrace.commands import backfill as cli_backfill
from headrace.commands import backup as cli_backup
from headrace.commands import doctor as cli_doctor
from headrace.commands import hosts as cli_hosts
from headrace.commands import load as cli_load
from headrace.commands import roles as cli_roles
from headrace.commands import status as cli_status
from headrace.commands import views as cli_views
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
from headrace.lock import DirectoryError, LockedError
from headrace.settings import Settings, SettingsError
from schemas.errors import InvariantError

TrustHandles = Annotated[bool, Parameter(help="Take the documents' handles as verified.", negative=())]


def up(
    *,
    data: Data = None,
    host: Annotated[str | None, Parameter(help="Address to bind to.")] = None,
    port: Annotated[int | None, Parameter(help="XRPC port of PDS and AppView; 0 lets the system choose.")] = None,
    plc_port: Annotated[int | None, Parameter(help="Port of the did:plc directory.")] = None,
    ops_port: Annotated[int | None, Parameter(help="Port of metrics, status and the ingest hook.")] = None,
    demo: Annotated[bool, Parameter(help="Fill it with a small population that lives on.", negative=())] = False,
    crawl: Annotated[list[str] | None, Parameter(help="A host (PDS) to read; may be repeated.", negative=())] = None,
    relay: Annotated[list[str] | None, Parameter(help="A relay to read; may be repeated.", negative=())] = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Start a whole network in one process; one line `ready` on stdout when all of it serves."""
    flags = {"data": data, "host": host, "port": port, "plc_port": plc_port, "ops_port": ops_port}
    lists = {"relay_crawl": crawl and tuple(crawl), "relay_upstreams": relay and tuple(relay)}
    settings = settings_of({**flags, **lists}, config, sets)
    logs.configure(settings.log_level)
    from headrace.up import run  # noqa: PLC0415 - `headrace --help` need not load the whole house

    try:
        return run(settings, as_json=as_json, demo=demo)
    except LockedError as error:
        return fail(IN_USE, str(error))
    except DirectoryError as error:
        return fail(USAGE, str(error))


def frames(
    file: Annotated[Path, Parameter(help="Firehose frames, each [u32 little-endian length][bytes].")],
    *,
    did_docs: Annotated[Path, Parameter(help="JSON object: DID to DID document.")],
    trust_handles: TrustHandles = False,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Verify firehose frames and put them into the log, in the order of the file."""
    settings = settings_of({"data": data}, config, sets)
    trust = {"trust_handles": trust_handles, "trust_signature": False}
    return _feed(settings, "frames", file, did_docs, trust, as_json=as_json)


def car(
    file: Annotated[Path, Parameter(help="A whole repo as CAR v1.")],
    *,
    did_docs: Annotated[Path | None, Parameter(help="JSON object: DID to DID document; else it is resolved.")] = None,
    trust_handles: TrustHandles = False,
    trust_signature: Annotated[
        bool, Parameter(help="Take your word for the signature of an account that resolves no longer.", negative=())
    ] = False,
    data: Data = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Verify a repo and put what differs from the log's own copy of it into the log."""
    settings = settings_of({"data": data}, config, sets)
    trust = {"trust_handles": trust_handles, "trust_signature": trust_signature}
    return _feed(settings, "car", file, did_docs, trust, as_json=as_json)


def _feed(
    settings: Settings, kind: str, file: Path, did_docs: Path | None, trust: dict[str, bool], *, as_json: bool
) -> int:
    logs.configure(settings.log_level)
    from headrace.commands.ingest import feed  # noqa: PLC0415 - as in up

    try:
        summary = asyncio.run(feed(settings, kind, file, did_docs, **trust))
    except client.RefusedError as error:
        return fail(REFUSED, str(error))
    except DirectoryError as error:
        return fail(USAGE, str(error))
    except InvariantError as error:
        return fail(FAILED, str(error))
    except (LockedError, client.NotRunningError) as error:
        return fail(IN_USE, str(error))
    except OSError as error:
        return fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    show(summary, as_json=as_json)
    return REFUSED if summary["refused"] else DONE


def command_line() -> cyclopts.App:
    ingest = cyclopts.App(name="ingest", help="Feed a file into a running network, or into a data directory at rest.")
    for command in (frames, car):
        ingest.command(command)
    whole = cyclopts.App(
        name="headrace",
        help="An AT Protocol backend built as one river: writes enter a log, everything read is a view of it.",
        help_epilogue=(
            "Every setting is also a variable HEADRACE_NAME, a key of the TOML file named by --config, "
            "and a flag --set NAME=VALUE: docs/settings.md.\n\n"
            "Exit codes: 0 done, 1 failed, 2 wrong usage or setting, 3 input refused, 4 data directory in use."
        ),
        version=lambda: f"headrace {version('headrace')}",
    )
    alone: tuple[Callable[..., int], ...] = (
        *(up, cli_status.status, cli_doctor.doctor, cli_backfill.backfill, cli_backup.restore),
        *cli_roles.COMMANDS,
    )
    for each in alone:
        whole.command(each)
    groups = (cli_accounts, cli_backup, cli_hosts, cli_load, cli_roles, cli_views)
    for group in (ingest, *(each for module in groups for each in module.groups())):
        whole.command(group)
    return whole


def main() -> None:
    """The entry point `headrace`."""
    os.umask(0o077)  # what it writes is its owner's alone
    try:
        code = command_line()(exit_on_error=False, print_error=True, result_action="return_value")
    except cyclopts.CycloptsError:
        code = USAGE
    except SettingsError as error:
        code = fail(USAGE, str(error))
    sys.exit(code if isinstance(code, int) else DONE)
