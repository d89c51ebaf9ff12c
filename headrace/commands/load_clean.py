"""`headrace load clean`: what killed runs left behind, taken away.

Does not own what is left, nor whose it is (`headrace/load/leftovers.py`, `headrace/load/owner.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from headrace.commands.common import DONE, FAILED, USAGE, Json, fail, show
from headrace.load import cluster, leftovers
from headrace.load.started import TargetError


def clean(
    *,
    kafka: Annotated[
        str | None, Parameter(help="With --cql: a broker on which runs were killed, as host:port.")
    ] = None,
    cql: Annotated[str | None, Parameter(help="The CQL store of theirs, as host:port.")] = None,
    named: Annotated[list[str] | None, Parameter(help="Take this cluster away, whoever made it.", negative=())] = None,
    as_json: Json = False,
) -> int:
    """Take away what runs left that were killed on this machine: directories, and a cluster's topics and keyspaces."""
    if (kafka is None) != (cql is None) or (named and kafka is None):
        return fail(USAGE, "expected --kafka and --cql together, and --named with both of them")
    taken = []
    try:
        taken += leftovers.drop_directories()
        if kafka is not None and cql is not None:
            taken += asyncio.run(cluster.clean(kafka, cql, named or []))
    except ValueError as error:
        return fail(USAGE, str(error))
    except (TargetError, OSError) as error:
        return fail(FAILED, str(error))
    show({"taken_away": taken}, as_json=as_json)
    return DONE


COMMANDS: dict[str, Callable[..., Any]] = {"clean": clean}
