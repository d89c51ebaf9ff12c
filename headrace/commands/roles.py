"""The commands that start one role of a cluster, and those that make what roles start upon.

Does not own what a role is (`headrace/roles.py`) nor how things are made (`headrace/preparing.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import App, Parameter

from headrace import logs
from headrace.commands.common import DONE, FAILED, IN_USE, USAGE, Config, Data, Json, Sets, fail, settings_of, show
from headrace.lock import DirectoryError, LockedError
from schemas.errors import InvariantError

Host = Annotated[str | None, Parameter(help="Address to bind to.")]
XrpcPort = Annotated[int | None, Parameter(help="XRPC port; 0 lets the system choose.")]
OpsPort = Annotated[int | None, Parameter(help="Port of metrics and status.")]
GenerationName = Annotated[str | None, Parameter(help="Generation of the views.")]


def plc(
    *,
    data: Data = None,
    host: Host = None,
    plc_port: Annotated[int | None, Parameter(help="Port of the directory; 0 lets the system choose.")] = None,
    ops_port: OpsPort = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Serve a did:plc directory."""
    return _run("plc", locals())


def derive(
    *,
    data: Data = None,
    host: Host = None,
    ops_port: OpsPort = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Turn `commits` into `records` and `firehose`; any number share the shards."""
    return _run("derive", locals())


def process(
    *,
    host: Host = None,
    ops_port: OpsPort = None,
    generation: GenerationName = None,
    runner: Annotated[str | None, Parameter(help="What hosts the processors: faust or plain.")] = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Keep a generation of the views up with the log; any number share the shards."""
    return _run("process", locals())


def pds(
    *,
    data: Data = None,
    host: Host = None,
    port: XrpcPort = None,
    ops_port: OpsPort = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Serve accounts and their repos; one process a name."""
    return _run("pds", locals())


def firehose(
    *,
    host: Host = None,
    port: XrpcPort = None,
    ops_port: OpsPort = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Serve subscribeRepos of the whole cluster; any number of them."""
    return _run("firehose", locals())


def relay(
    *,
    data: Data = None,
    host: Host = None,
    relay_port: Annotated[int | None, Parameter(help="Port of the firehose; 0 lets the system choose.")] = None,
    ops_port: OpsPort = None,
    crawl: Annotated[list[str] | None, Parameter(help="A host (PDS) to read; may be repeated.", negative=())] = None,
    relay: Annotated[list[str] | None, Parameter(help="A relay to read; may be repeated.", negative=())] = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Read other people's hosts, verify them and serve their firehose; with kafka_servers on a cluster's log."""
    given = locals()
    named = {"relay_crawl": given.pop("crawl"), "relay_upstreams": given.pop("relay")}
    return _run("relay", {**given, **{name: hosts and tuple(hosts) for name, hosts in named.items()}})


def appview(
    *,
    host: Host = None,
    port: XrpcPort = None,
    ops_port: OpsPort = None,
    generation: GenerationName = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Answer app.bsky from the views; any number of them."""
    return _run("appview", locals())


def canary(
    *,
    data: Data = None,
    host: Host = None,
    ops_port: OpsPort = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> int:
    """Post as an account of its own and time how soon the views show it; deletes what it posts."""
    return _run("canary", locals())


def create_topics(*, config: Config = None, sets: Sets = None) -> int:
    """Make the log's topics that are missing, and check those that are there."""
    return _prepare("create_topics", {}, config, sets)


def check_topics(*, config: Config = None, sets: Sets = None) -> int:
    """Check the log's topics; one that is missing or wrong is said, with the cure."""
    return _prepare("check_topics", {}, config, sets)


def create_schema(*, generation: GenerationName = None, config: Config = None, sets: Sets = None) -> int:
    """Make the tables of a generation that are missing."""
    return _prepare("create_schema", {"generation": generation}, config, sets)


def check_schema(*, generation: GenerationName = None, config: Config = None, sets: Sets = None) -> int:
    """Check that a generation's tables are there, in the shape that this version reads."""
    return _prepare("check_schema", {"generation": generation}, config, sets)


def groups() -> tuple[App, ...]:
    """What is made before the roles start, by hand or by a job."""
    topics = App(name="topics", help="The log's topics.")
    topics.command(create_topics, name="create")
    topics.command(check_topics, name="check")
    schema = App(name="schema", help="The tables of a generation of views.")
    schema.command(create_schema, name="create")
    schema.command(check_schema, name="check")
    return topics, schema


COMMANDS: tuple[Callable[..., int], ...] = (plc, pds, derive, process, firehose, relay, appview, canary)


def _prepare(name: str, given: dict[str, Any], config: Config, sets: Sets) -> int:
    settings = settings_of(given, config, sets)
    logs.configure(settings.log_level)
    from headrace.preparing import run  # noqa: PLC0415 - as in _run

    try:
        show(run(name, settings), as_json=False)
    except InvariantError as error:
        return fail(FAILED, str(error))
    return DONE


def _run(name: str, given: dict[str, Any]) -> int:
    config, sets, as_json = (given.pop(key) for key in ("config", "sets", "as_json"))
    settings = settings_of(given, config, sets)
    logs.configure(settings.log_level)
    from headrace.roles import run  # noqa: PLC0415 - `headrace --help` need not load the whole house

    try:
        return run(name, settings, as_json=as_json)
    except LockedError as error:
        return fail(IN_USE, str(error))
    except DirectoryError as error:
        return fail(USAGE, str(error))
    except InvariantError as error:
        return fail(FAILED, str(error))
