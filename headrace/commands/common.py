"""What commands share: parameters, exit codes, settings from flags, and how an answer is printed.

stdout is data, stderr is progress and logs. Does not own the commands (`headrace/cli.py`, `headrace/commands/*.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from headrace.settings import Settings, SettingsError, load

DONE, FAILED, USAGE, REFUSED, IN_USE = range(5)

Data = Annotated[Path | None, Parameter(help="Data directory.")]
Config = Annotated[Path | None, Parameter(help="TOML file of settings.")]
Sets = Annotated[list[str] | None, Parameter(name="--set", help="Any setting, as NAME=VALUE.", negative=())]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON.", negative=(), show_default=False)]


def settings_of(flags: dict[str, Any], config: Path | None, sets: list[str] | None) -> Settings:
    for pair in sets or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set {pair}: expected NAME=VALUE")
        flags[name.strip().replace("-", "_")] = value
    return load(flags, config)


def show(value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(value).decode() + "\n")
        return
    sys.stdout.writelines(f"{name}: {found}\n" for name, found in _lines("", value))


def _lines(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A document as lines, each led by its path; what is empty has none."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(f"{name} {key}".strip(), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _lines(name, inner)
    else:
        yield name, value


def fail(code: int, message: str) -> int:
    sys.stderr.writelines(f"headrace: {line}\n" for line in message.splitlines())
    return code
