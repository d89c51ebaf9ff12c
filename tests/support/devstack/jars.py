"""The jars of a broker and of a store: fetched once through Maven, checked against the list beside this file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("HEADRACE_DEVSTACK_CACHE", HERE.parents[2] / ".cache" / "devstack"))
FETCH = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
SECONDS = 600
JAVA = 17

Kind = Literal["kafka", "cassandra"]


class StackUnavailableError(Exception):
    """This machine cannot run the stack: the message says what is missing."""


def missing() -> str | None:
    """What this machine lacks, in one line; None when it has everything."""
    java = shutil.which("java")
    if java is None:
        return f"Java {JAVA} (no `java` in PATH)"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    if f'version "{JAVA}.' not in said:
        return f"Java {JAVA} (found: {said.splitlines()[0] if said else 'nothing that answers -version'})"
    if shutil.which("mvn") is None and not all(_complete(_folder(kind)) for kind in ("kafka", "cassandra")):
        return "Maven (no `mvn` in PATH), which fetches the jars once"
    return None


def jars(kind: Kind) -> Path:
    """The folder with the jars. Several processes may ask at once: one fetches, the others wait."""
    folder = _folder(kind)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _complete(folder):
            _fetch(kind, folder)
    return folder / "lib"


def _folder(kind: Kind) -> Path:
    pinned = (HERE / f"{kind}-pom.xml").read_bytes() + (HERE / f"{kind}.sha256").read_bytes()
    return CACHE / f"{kind}-{hashlib.sha256(pinned).hexdigest()[:12]}"


def _complete(folder: Path) -> bool:
    return (folder / "complete").exists()


def _fetch(kind: Kind, folder: Path) -> None:
    mvn = shutil.which("mvn")
    if mvn is None:
        raise StackUnavailableError(
            f"the jars of {kind} are not in {folder} and there is no `mvn` in PATH to fetch them"
        )
    lib = folder / "lib"
    shutil.rmtree(lib, ignore_errors=True)
    command = [mvn, "-q", "-B", "-ntp", "-f", str(HERE / f"{kind}-pom.xml"), FETCH, "-DincludeScope=runtime"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={lib}"], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    if done.returncode != 0:
        raise StackUnavailableError(
            f"Maven could not fetch the jars of {kind}:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    expected = dict(reversed(line.split()) for line in (HERE / f"{kind}.sha256").read_text().splitlines())
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in lib.glob("*.jar")}
    if found != expected:
        names = sorted({name for name, _ in found.items() ^ expected.items()})
        raise StackUnavailableError(f"the jars of {kind} are not those of {kind}.sha256: {', '.join(names)}")
    (folder / "complete").touch()
