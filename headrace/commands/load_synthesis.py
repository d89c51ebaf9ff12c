"""`headrace load synthesise`: a network out of a seed, or a recorded one under new identities.

Does not own how it is made (`headrace/load/synthesis/`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from headrace.commands.common import DONE, FAILED, REFUSED, USAGE, Json, fail, show
from headrace.load.archive.reader import Archive
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.synthesis.pool import collect_rarely, synthesise
from headrace.load.synthesis.resign import resign
from headrace.load.synthesis.steps import Population
from schemas.errors import InvariantError, Refused

_MOST = 10_000_000  # accounts
_FEW = 20_000  # commits and records
_LEVEL = 1  # of compression: what makes the frames needs the processor more


def synthesise_(
    out: Annotated[Path, Parameter(help="The archive to make: a new directory.")],
    *,
    seed: Annotated[int, Parameter(help="The same seed gives the same archive.")] = 1,
    accounts: Annotated[int, Parameter(help="How many accounts.")] = 1_000,
    followers: Annotated[
        int | None, Parameter(help="Instead: one account that so many follow, who all like what it posts.")
    ] = None,
    events: Annotated[int, Parameter(help="Events after every account has come into being.")] = 10_000,
    rate: Annotated[
        float | None, Parameter(help="Events a second of recorded time; by default what so many accounts do.")
    ] = None,
    re_sign: Annotated[
        Path | None, Parameter(help="Instead: give this recorded archive new identities and signatures.")
    ] = None,
    workers: Annotated[int | None, Parameter(help="Processes; by default one a processor.")] = None,
    as_json: Json = False,
) -> int:
    """Make a network out of a seed, with real keys, signatures and trees, and put its firehose into an archive."""
    # A process takes a second or two to start, in which one alone makes thousands.
    processes = workers or (1 if (followers or accounts) * 4 + events < _FEW else os.cpu_count() or 1)
    if followers is not None and not 0 < followers < _MOST:
        return fail(USAGE, f"expected --followers of 1 to {_MOST - 1:,}")
    if not (0 < accounts <= _MOST and events >= 0 and processes > 0 and (rate is None or rate > 0)):
        return fail(USAGE, "expected --accounts of 1 to 10,000,000, --events from 0, --workers and --rate above 0")
    population = Population(seed, accounts, events, rate)
    if followers is not None:
        population = population._replace(accounts=followers + 1, famous=True)
    collect_rarely()
    started = time.monotonic()
    try:
        source = f"synthesised: seed {seed}, {population.accounts} accounts, {events} events"
        if re_sign is not None:
            source = f"{re_sign.name}, signed again: seed {seed}"
        with ArchiveWriter(out, source=source, level=_LEVEL) as writer:
            if writer.holds_items:
                return fail(REFUSED, f"{out} holds an archive already: name a new directory")
            if re_sign is not None:
                said: dict[str, Any] = resign(Archive(re_sign), writer, seed)._asdict()
            else:
                said = synthesise(population, writer, workers=processes)._asdict()
    except Refused as refused:
        return fail(REFUSED, str(refused))
    except KeyboardInterrupt:
        return fail(FAILED, f"stopped: {out} holds what was made so far")
    except InvariantError as error:
        return fail(FAILED, str(error))
    except OSError as error:
        return fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    said["seconds"] = round(time.monotonic() - started, 3)
    said["hash"] = Archive(out).content_hash()
    show(said, as_json=as_json)
    return DONE


COMMANDS: dict[str, Callable[..., Any]] = {"synthesise": synthesise_}
