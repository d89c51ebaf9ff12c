"""From a plan's TOML file to a `Plan`: what is wrong is refused with its line and the nearest right word.

A plan has forms, which are tables that lie over it, each over those before: `[cluster]` where the target is one,
`[short]` when asked for, and `[cluster.short]` where both are. Does not own what a plan may say (`plan.py`) nor which
targets may be aimed at (`aim.py`).
"""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from headrace.load import plan as plans
from headrace.load.measures import nearest_measure
from headrace.load.plan import Plan, Players

SHORT, CLUSTER = "short", "cluster"
SHIPPED = Path(__file__).parent / "plans"

_TABLE = re.compile(r"^\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")
_PLACE = re.compile(r" - at `(?:key in )?\$?([^`]*)`")


class PlanError(Exception):
    """The plan cannot be run: the message says where, what was expected, and what to write instead."""


def find(name: str) -> Path:
    """A file, or a plan that ships, by its name. Raises PlanError."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = {each.stem: each for each in SHIPPED.glob("*.toml")}
    found = shipped.get(path.name.removesuffix(".toml")) if path.parent == Path() else None
    if found is None:
        raise PlanError(f"no plan {name}: expected a file, or one of {', '.join(sorted(shipped))}")
    return found


def read(path: Path, *, short: bool = False, cluster: bool = False) -> Plan:
    """The plan of a file, in the form that is asked for. Raises PlanError, OSError."""
    return parse(path.read_text(encoding="utf-8"), path.name, short=short, cluster=cluster)


def parse(text: str, name: str, *, short: bool = False, cluster: bool = False) -> Plan:
    """The plan of a file's text; `cluster` also where its own target is one. Raises PlanError."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{name}: {error}") from None
    forms = _forms(found)
    _look(found, Plan, (), text, name)
    for where, form in forms.items():
        if not isinstance(form, dict):
            raise PlanError(f"{_at(text, name, where)}: expected a table, which lies over the plan")
        _look(form, Plan, where, text, name)
    target = found.get("target")
    cluster = cluster or (isinstance(target, dict) and target.get("start") == CLUSTER)
    if short and (SHORT,) not in forms:
        raise PlanError(f"{name}: no table [{SHORT}], which the short form is made of")
    wanted = [(CLUSTER,)] * cluster + [(SHORT,)] * short + [(CLUSTER, SHORT)] * (cluster and short)
    for where in wanted:
        found = _merged(found, forms.get(where, {}))
    try:
        plan = msgspec.convert(found, Plan)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        keys = tuple(key for key in re.split(r"[.\[\]]+", place[1]) if key and key != "...") if place else ()
        raise PlanError(f"{_at(text, name, keys, missing=True)}: {str(error).split(' - at')[0]}") from None
    _sensible(plan, text, name)
    return plan


def _forms(found: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    """Take the tables out that lie over a plan, by where they stand."""
    forms: dict[tuple[str, ...], Any] = {(key,): found.pop(key) for key in (CLUSTER, SHORT) if key in found}
    in_cluster = forms.get((CLUSTER,))
    if isinstance(in_cluster, dict) and SHORT in in_cluster:
        forms[CLUSTER, SHORT] = in_cluster.pop(SHORT)
    return forms


def _sensible(plan: Plan, text: str, name: str) -> None:
    for criterion in plan.criteria:
        near = nearest_measure(criterion.measure)
        line = _line_with(text, name, criterion.measure)
        if near != criterion.measure:
            raise PlanError(f"{line}: no measure {criterion.measure!r}; nearest is {near!r}")
        if (criterion.at_most is None) == (criterion.at_least is None):
            raise PlanError(f"{line}: {criterion.measure} needs one of at_most and at_least")
    if plan.judged_from >= plan.load.seconds:
        raise PlanError(f"{name}: ramp and warm_up take all of the {plan.load.seconds:g} seconds; nothing is judged")
    if any(fault.at >= plan.load.seconds for fault in plan.faults):
        raise PlanError(f"{name}: a fault lies after the load's end at {plan.load.seconds:g} s")
    for player, players in plan.players.items():
        if why := _playable(players):
            raise PlanError(f"{_at(text, name, ('players', player))}: {player} {why}")
    if not (plan.readers or plan.writers or plan.players or plan.sessions or plan.checks):
        raise PlanError(f"{name}: nobody comes: expected readers, writers, players, sessions or checks")


def _playable(players: Players) -> str:
    """Why a player cannot play, or nothing."""
    bursts = players.bursts
    if players.rate and players.times:
        return "has a rate and times: choose one (neither is flat out)"
    if not players.rate and not players.archive:
        return "plays a synthetic network, which is as large as a rate says: give it a rate or an archive"
    if not players.rate and (players.ramp or bursts):
        return "has a ramp or bursts of no rate: give it a rate"
    if bursts is not None and bursts.seconds > bursts.every:
        return f"has bursts of {bursts.seconds:g} s every {bursts.every:g} s: they overlap"
    return ""


def _look(value: Any, kind: Any, path: tuple[str, ...], text: str, name: str) -> None:
    """Refuse the first key that `kind` does not have."""
    struct, values = _shape(kind)
    if isinstance(value, list):
        for item in value:
            _look(item, values, path, text, name)
    if not isinstance(value, dict):
        return
    if struct is None:
        for key, inner in value.items():
            allowed = _words(kind)
            if allowed and key not in allowed:
                raise PlanError(_wrong(text, name, (*path, key), allowed))
            _look(inner, values, (*path, key), text, name)
        return
    hints = get_type_hints(struct, vars(plans), include_extras=True)
    for key, inner in value.items():
        if key not in hints:
            raise PlanError(_wrong(text, name, (*path, key), list(hints)))
        _look(inner, hints[key], (*path, key), text, name)


def _shape(kind: Any) -> tuple[type[msgspec.Struct] | None, Any]:
    """(the struct it is, or None; the kind of what it holds, if it is a dict or a list)."""
    if get_origin(kind) is Annotated:
        return _shape(get_args(kind)[0])
    if get_origin(kind) in (UnionType, Union):
        return next((shape for each in get_args(kind) if (shape := _shape(each))[0] is not None), (None, None))
    if get_origin(kind) in (dict, list):
        return None, get_args(kind)[-1]
    return (kind, None) if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else (None, None)


def _words(kind: Any) -> list[str]:
    """The keys of a dict that has only some."""
    keys = get_args(kind)[0] if get_origin(kind) is dict else None
    return list(get_args(keys)) if get_origin(keys) is Literal else []


def _wrong(text: str, name: str, path: tuple[str, ...], allowed: list[str]) -> str:
    near = get_close_matches(path[-1], allowed, 1, cutoff=0.0)
    return f"{_at(text, name, path)}: no key {path[-1]!r}; nearest is {near[0]!r} (there are: {', '.join(allowed)})"


def _at(text: str, name: str, path: tuple[str, ...], *, missing: bool = False) -> str:
    """`file:line` of a key; of its table, when it is absent."""
    table: tuple[str, ...] = ()
    best, length = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _TABLE.match(line), _KEY.match(line)
        if header is not None:
            table = _split(header[1])
            here = table
        elif key is not None:
            here = (*table, *_split(key[1]))
        else:
            continue
        same = next((at for at, (one, other) in enumerate(zip(here, path, strict=False)) if one != other), None)
        shared = min(len(here), len(path)) if same is None else same
        if shared > length and (same is None or missing):
            best, length = number, shared
            if here[: len(path)] == path:
                break
    return f"{name}:{best}"


def _line_with(text: str, name: str, word: str) -> str:
    return f"{name}:{next((number for number, line in enumerate(text.splitlines(), 1) if word in line), 1)}"


def _split(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip(" \"'") for part in dotted.split("."))


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
