"""Is a suite awake? A mutant breaks one rule in a copy of the tree; what is said to notice must fail there.

What is said to notice must pass on the copy as it is, or its failure would say nothing. Does not own the mutants.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "ingest", "views", "processors", "api", "headrace", "tests")
_MEMORY = Path("/dev/shm")
_SECONDS = 600  # several times what the slowest takes


# What notices most, in one process.
SOAK = ("tests/oracle/soak.py", "--seeds", "40", "--from", "0", "--steps", "300", "--stop")


class Mutant(NamedTuple):
    """`old` becomes `new` wherever it stands in `file`; `noticed_by` is what Python is then called with."""

    name: str
    file: str
    old: str
    new: str
    noticed_by: tuple[str, ...] = SOAK


class StaleMutantError(Exception):
    """The code does not say any more what a mutant changes: rewrite the mutant with the code."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"{mutant.name}: {mutant.file} does not say {mutant.old!r} any more: rewrite the mutant")


def by_tests(*names: str) -> tuple[str, ...]:
    """What to call Python with for these tests."""
    return ("-m", "pytest", "-x", "-q", *names)


def patched(mutant: Mutant, root: Path = ROOT) -> str:
    """The file's text as the mutant has it. Raises StaleMutantError."""
    text = (root / mutant.file).read_text()
    if mutant.old not in text:
        raise StaleMutantError(mutant)
    return text.replace(mutant.old, mutant.new)


def main(mutants: Sequence[Mutant], words: Sequence[str]) -> int:
    """Runs those whose name has one of the words, or all; 1 if one lives, or if the tests fail without any."""
    chosen = [mutant for mutant in mutants if not words or any(word in mutant.name for word in words)]
    texts = [patched(mutant) for mutant in chosen]
    with tempfile.TemporaryDirectory(prefix="headrace-mutants-", dir=_MEMORY if _MEMORY.is_dir() else None) as held:
        copy = Path(held)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        failing = [command for command in {mutant.noticed_by: None for mutant in chosen} if not _passes(command, copy)]
        if failing:
            return 1
        alive = [mutant for mutant, text in zip(chosen, texts, strict=True) if not _killed(mutant, text, copy)]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mutants killed")
    for mutant in alive:
        print(f"  alive: {mutant.name} ({mutant.file})")
    return 1 if alive else 0


def _passes(command: tuple[str, ...], copy: Path) -> bool:
    run = _run(command, copy)
    if run is not None and run.returncode == 0:
        return True
    print(f"without any mutant this fails: {' '.join(command)}", flush=True)
    print("it hangs" if run is None else run.stdout[-2000:] + run.stderr[-2000:])
    return False


def _killed(mutant: Mutant, text: str, copy: Path) -> bool:
    file = copy / mutant.file
    was = file.read_text()
    file.write_text(text)
    try:
        run = _run(mutant.noticed_by, copy)
    finally:
        file.write_text(was)
    if run is None:
        print(f"killed  {mutant.name} (it hangs)", flush=True)
        return True
    killed = run.returncode == 1
    print(f"{'killed' if killed else 'ALIVE '}  {mutant.name}", flush=True)
    if run.returncode not in (0, 1):
        print(run.stdout[-2000:], run.stderr[-2000:])
    return killed


def _run(command: tuple[str, ...], copy: Path) -> subprocess.CompletedProcess[str] | None:
    """None when it did not end; whatever it started is gone with it."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except BaseException as error:
            os.killpg(process.pid, 9)
            process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
