"""The wheel, which is what an image holds: all that the folders hold, and it runs without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.chart import ROOT

PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
    "wheel"
]["packages"]
BESIDE = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
MADE = shutil.ignore_patterns("__pycache__", "*.so", "*.pyc", ".*")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy, where nothing of an earlier build lies."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=MADE)
    for name in BESIDE:
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(made)]
    done = subprocess.run(
        command, cwd=source, env={**os.environ, "HEADRACE_CORE": "skip"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(made.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def held(folder: Path) -> set[str]:
    found = (path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file())
    kept = (path for path in found if "__pycache__" not in path.parts and path.suffix != ".so")
    return {str(path.relative_to(folder)) for path in kept if not path.name.startswith(".")}


def run(unpacked: Path, *arguments: str) -> str:
    """With the libraries of this environment, and without the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=unpacked, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_what_the_folders_hold(unpacked: Path) -> None:
    found = held(unpacked)

    assert found == held(ROOT)
    assert {"api/ops_page.html", "headrace/load/plans/soak.toml", "ingest/repo/core/core.h"} <= found


def test_it_has_its_page_its_plans_and_its_command(unpacked: Path) -> None:
    page = "import api.ops_page as p; print(p.__file__); print(len(p.page()[0]))"
    where, size = run(unpacked, "-c", page).split()
    plans = run(unpacked, "-m", "headrace", "load", "plans")

    assert Path(where).is_relative_to(unpacked)
    assert int(size) == (ROOT / "api" / "ops_page.html").stat().st_size
    assert all(path.stem in plans for path in (ROOT / "headrace" / "load" / "plans").glob("*.toml"))


def test_tracing_is_an_extra(unpacked: Path) -> None:
    metadata = next(unpacked.glob("*.dist-info/METADATA")).read_text()
    wanted = [line for line in metadata.splitlines() if line.startswith("Requires-Dist: opentelemetry")]

    assert len(wanted) == 2
    assert all("extra == 'tracing'" in line for line in wanted)
