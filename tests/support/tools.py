"""Programs that tests use and that are no Python: `need("helm")` is a path, or a skip with a line.

A program in PATH is taken when its version does not matter to the tests; else it is installed once into .cache/tools
(HEADRACE_TOOLS_CACHE names another folder): Go programs by `go install` at a pinned version, Debian's from its
packages, without starting their services. Several processes may ask at once: one installs, the others wait. In CI
nothing is skipped. Does not own what runs on a JVM (`devstack/jars.py`) or on Node (`npm.py`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

CACHE = Path(os.environ.get("HEADRACE_TOOLS_CACHE", Path(__file__).resolve().parents[2] / ".cache" / "tools"))
SECONDS = 900


class ToolUnavailableError(Exception):
    """This machine cannot have the program: the message says why, in one line."""


class TooSlowError(ToolUnavailableError):
    """A step was given up as it took too long: another try would too."""


class GoProgram(NamedTuple):
    """`go install package@version`; always the pinned version, never what PATH has."""

    package: str
    version: str


class Locked(NamedTuple):
    """A program that a package of the locked environment brings."""


class DebianFiles(NamedTuple):
    """A program out of a Debian package that needs little beside the C library: unpacked, not installed."""

    package: str
    file: str


class DebianPackage(NamedTuple):
    """A Debian package with all it depends on: installed, which only root may."""

    package: str
    file: str


Source = Locked | GoProgram | DebianFiles | DebianPackage

TOOLS: dict[str, Source] = {
    "goat": GoProgram("github.com/bluesky-social/indigo/cmd/goat", "v0.0.0-20250813051257-8be102876fb7"),
    "tap": GoProgram("github.com/bluesky-social/indigo/cmd/tap", "v0.0.0-20260605210604-af2fec94f34c"),
    "helm": Locked(),
    "prometheus": DebianFiles("prometheus", "usr/bin/prometheus"),
    "promtool": DebianFiles("prometheus", "usr/bin/promtool"),
    "chromium": DebianPackage("chromium", "/usr/bin/chromium"),
}


def need(name: str) -> Path:
    """The program's path. Skips the test that calls it when this machine cannot have it; in CI it fails instead."""
    try:
        return find(name)
    except ToolUnavailableError as error:
        return unavailable(f"needs {name}: {error}")


def unavailable(line: str) -> Path:
    """Never returns: fails in CI, skips elsewhere."""
    if os.environ.get("CI") or os.environ.get("HEADRACE_CI"):
        pytest.fail(f"in CI nothing is skipped: {line}")
    pytest.skip(line)


def find(name: str) -> Path:
    """As `need`, outside of a test. Raises ToolUnavailableError."""
    source = TOOLS[name]
    if isinstance(source, Locked):
        program = Path(sys.executable).parent / name
        if not program.exists():
            raise ToolUnavailableError("`make setup` installs it")
        return program
    if isinstance(source, GoProgram):
        folder = CACHE / f"{name}-{source.version}"
        return cached(folder, folder / name, lambda: _go(source, folder))
    in_path = shutil.which(name)
    if in_path is not None:
        return Path(in_path)
    if isinstance(source, DebianFiles):
        folder = CACHE / f"debian-{source.package}"
        return cached(folder, folder / source.file, lambda: _unpack(source, folder))
    folder = CACHE / f"installed-{source.package}"
    return cached(folder, Path(source.file), lambda: _install(source))


def cached(folder: Path, program: Path, install: Callable[[], None]) -> Path:
    """`program`, which `install` makes unless it is there; one process at a time. Raises ToolUnavailableError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            install()
            if not program.exists():
                raise ToolUnavailableError(f"what was installed has no {program}")
    return program


def run(*command: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> None:
    """Run one step of an installation. Raises ToolUnavailableError with the end of what it said, and TooSlowError.

    Whatever ends it early ends all that it has started: a compiler that goes on alone is in the next one's way.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise ToolUnavailableError(f"no `{command[0]}` in PATH") from None
    try:
        stdout, stderr = process.communicate(timeout=SECONDS)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TooSlowError(f"`{' '.join(command)}` took longer than {SECONDS} s") from None
        raise
    if process.returncode != 0:
        last = (stderr.strip() or stdout.strip() or "no word").splitlines()[-1]
        raise ToolUnavailableError(f"`{' '.join(command)}` failed: {last}")


def linked(name: str, folder: Path, **values: str) -> Path:
    """A Go program with other values of its string variables, by package and name, linked into `folder`; skips too.

    For what a program has no option of. A second or two once `find` has had it compiled here; else a minute.
    """
    source = TOOLS[name]
    assert isinstance(source, GoProgram)
    try:
        _go(source, folder, "".join(f" -X {variable}={value}" for variable, value in values.items()))
    except ToolUnavailableError as error:
        return unavailable(f"needs {name}: {error}")
    return folder / name


def _go(source: GoProgram, folder: Path, values: str = "") -> None:
    # Built aside and moved: a build that is cut short leaves nothing that looks whole.
    new = folder / "new"
    run(
        "go",
        "install",
        "-trimpath",
        f"-ldflags=-s -w{values}",
        f"{source.package}@{source.version}",
        environment={"GOBIN": str(new)},
    )
    for program in new.iterdir():
        program.rename(folder / program.name)
    new.rmdir()


def _unpack(source: DebianFiles, folder: Path) -> None:
    new = folder / "new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    _after_update(lambda: run("apt-get", "download", source.package, folder=new))
    for package in new.glob("*.deb"):
        run("dpkg-deb", "-x", str(package), str(new))
    target = folder / source.file
    target.parent.mkdir(parents=True, exist_ok=True)
    for program in (new / source.file).parent.iterdir():
        program.rename(target.parent / program.name)
    shutil.rmtree(new)


def _install(source: DebianPackage) -> None:
    if os.geteuid() != 0:
        raise ToolUnavailableError(f"only root can install it: apt-get install {source.package}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    command = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", source.package)
    _after_update(lambda: run(*command, environment=quiet))


def _after_update(step: Callable[[], None]) -> None:
    """Packages move on, and an old list names files that are gone: asked again once, with a new list."""
    try:
        step()
    except ToolUnavailableError:
        if os.geteuid() != 0:
            raise
        run("apt-get", "update", "--quiet")
        step()
