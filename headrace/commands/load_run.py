"""`headrace load run|plans|report|compare|federate`: plans run against a target, and what came of it.

Does not own what the commands do (`headrace/load/run.py`, `headrace/load/report.py`, `headrace/load/compare.py`,
`headrace/load/federate.py`).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from headrace.commands.common import DONE, FAILED, REFUSED, USAGE, Json, fail, show
from headrace.load import columns, compare, federate, leftovers, plan_file
from headrace.load.aim import aimed, check_faults
from headrace.load.archive.reader import Archive
from headrace.load.output import write_all
from headrace.load.plan import Plan
from headrace.load.plan_file import PlanError
from headrace.load.player import PlayerError
from headrace.load.population import SetUpError
from headrace.load.progress import Progress
from headrace.load.report import report
from headrace.load.result import Result, ResultError, read
from headrace.load.run import Run, StoppedError
from headrace.load.target import TargetError
from schemas.errors import Refused

Short = Annotated[bool, Parameter(help="The plan's short form.", negative=())]


def run(
    plan: Annotated[str, Parameter(help="A TOML file, or the name of a plan that ships (`headrace load plans`).")],
    *,
    target: Annotated[
        str | None, Parameter(help="Load this server; of another machine only if the plan says so too.")
    ] = None,
    kafka: Annotated[
        str | None, Parameter(help="With --cql: start the roles of a cluster on this broker, as host:port.")
    ] = None,
    cql: Annotated[str | None, Parameter(help="The CQL store of that cluster, as host:port.")] = None,
    out: Annotated[Path, Parameter(help="Directory of result.json, report.html and *.hgrm.")] = Path("load-report"),
    short: Short = False,
    seed: Annotated[int | None, Parameter(help="Instead of the plan's.")] = None,
    process: Annotated[
        list[str] | None, Parameter(help="Look at, and let faults find, another process: NAME=PID.", negative=())
    ] = None,
    as_json: Json = False,
) -> int:
    """Run a plan; exit code 1 when a criterion fails or the target does not serve, 2 when the plan is wrong."""
    try:
        is_cluster = kafka is not None or cql is not None
        found = aimed(plan_file.read(plan_file.find(plan), short=short, cluster=is_cluster), target, kafka, cql)
        named = _named(process or [])
        check_faults(found, named)
        if seed is not None:
            found = msgspec.structs.replace(found, seed=seed)
        out.mkdir(parents=True, exist_ok=True)
    except PlanError as error:
        return fail(USAGE, str(error))
    except OSError as error:
        return fail(USAGE, f"{error.filename}: {error.strerror}")
    try:
        result, histograms = asyncio.run(_run(found, named, short=short))
    except (TargetError, SetUpError, PlayerError, StoppedError) as error:
        return fail(FAILED, str(error))
    write_all(result, histograms, out)
    show(_summary(result, out), as_json=as_json)
    return DONE if result.passed else FAILED


async def _run(plan: Plan, named: dict[str, int], *, short: bool) -> tuple[Result, dict[str, Any]]:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with leftovers.new_directory() as folder, Progress(plan.name) as progress:
        try:
            for path in leftovers.drop_directories():
                progress.say(f"took away {path} of a run that was killed")
        except OSError as error:  # no reason not to run
            progress.say(f"{error.filename} of a run that was killed stays: {error.strerror}")
        whole = Run(plan, plan.target.url, Path(folder), progress, stop, named=named, short=short)
        return await whole.result(), whole.series.judged


def _named(pairs: list[str]) -> dict[str, int]:
    found = {}
    for pair in pairs:
        name, equals, pid = pair.partition("=")
        if not equals or not name or not pid.isdigit() or int(pid) < 2:
            raise PlanError(f"--process {pair}: expected NAME=PID")
        found[name] = int(pid)
    return found


def _summary(result: Result, out: Path) -> dict[str, Any]:
    return {
        "plan": result.plan.name,
        "passed": result.passed,
        "criteria": [
            f"{'pass' if each.passed else 'FAIL'}: {each.measure} {each.wanted}, found "
            + ("nothing" if each.found is None else f"{each.found:g}")
            for each in result.verdicts
        ],
        "notes": result.notes,
        "report": str(out / "report.html"),
    }


def plans() -> int:
    """List the plans that ship."""
    for path in sorted(plan_file.SHIPPED.glob("*.toml")):
        found = plan_file.read(path)
        sys.stdout.write(f"{found.name}: {found.about}\n")
    return DONE


def report_(
    result: Annotated[Path, Parameter(help="A result.json, or the directory it is in.")],
    out: Annotated[Path, Parameter(help="The HTML file to write.")],
) -> int:
    """Write a result's HTML file again."""
    try:
        out.write_text(report(read(result)), encoding="utf-8")
    except ResultError as error:
        return fail(REFUSED, str(error))
    except OSError as error:
        return fail(USAGE, f"{error.filename}: {error.strerror}")
    return DONE


def compare_(
    first: Annotated[Path, Parameter(help="A result.json, or the directory it is in.")],
    second: Annotated[Path, Parameter(help="Another.")],
    *,
    html: Annotated[Path | None, Parameter(help="Write an HTML file too.")] = None,
    as_json: Json = False,
) -> int:
    """Show two results beside each other."""
    try:
        a, b = read(first), read(second)
    except ResultError as error:
        return fail(REFUSED, str(error))
    differences = compare.differences(a, b)
    rows = compare.rows(a, b)
    if html is not None:
        html.write_text(compare.html(a, b), encoding="utf-8")
    if as_json:
        show({"differences": differences, "measures": [row._asdict() for row in rows]}, as_json=True)
        return DONE
    sys.stderr.writelines(f"headrace: {each}\n" for each in differences)
    columns.write(compare.HEAD, [row.cells() for row in rows])
    return DONE


def federate_(
    archive: Annotated[Path, Parameter(help="An archive: `headrace load record`, `import` or `synthesise` makes one.")],
    *,
    instances: Annotated[int, Parameter(help="The most instances.")] = 1_000,
    dead: Annotated[float, Parameter(help="Share of the instances that are gone.")] = 0.05,
    tries: Annotated[int, Parameter(help="How often a delivery to one that is gone is tried again.")] = 16,
    html: Annotated[Path | None, Parameter(help="Write an HTML file with plots.")] = None,
    as_json: Json = False,
) -> int:
    """Price an archive's workload both ways: HTTP deliveries between instances, or appends to one log."""
    if instances < 2 or not 0 <= dead < 1 or tries < 0:
        return fail(USAGE, "expected two instances or more, --dead from 0 to below 1, --tries from 0")
    try:
        load = federate.workload(Archive(archive))
    except Refused as refused:
        return fail(REFUSED, str(refused))
    if not load.acts:
        return fail(REFUSED, f"{archive}: no posts, likes or follows are created in it")
    most = min(instances, load.accounts)
    size = max(1, load.accounts // most)
    splits = [federate.split(load, number, dead, tries) for number in federate.steps(most)]
    growth = [federate.grown(load, size, number, dead, tries) for number in federate.steps(most)]
    if html is not None:
        html.write_text(federate.html(load, splits, growth, Archive(archive).source), encoding="utf-8")
    said = {"accounts": load.accounts, "appends": len(load.acts), "timeline_rows": load.pushes}
    prices = {"split": [each._asdict() for each in splits], "growing": [each._asdict() for each in growth]}
    if as_json:
        show({**said, **prices}, as_json=True)
        return DONE
    show(said, as_json=False)
    for title, found in prices.items():
        sys.stdout.write(f"\n{title}\n")
        columns.write(federate.Price._fields, [[f"{value:,}" for value in price] for price in found])
    return DONE


COMMANDS: dict[str, Callable[..., Any]] = {
    "run": run,
    "plans": plans,
    "report": report_,
    "compare": compare_,
    "federate": federate_,
}
