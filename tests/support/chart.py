"""The Helm chart as tests see it: rendered with each file of helm/ci, and its README made from the values' comments.

    python -m tests.support.chart golden    writes tests/chart/golden anew
    python -m tests.support.chart readme    writes helm/README.md anew

A file of helm/ci may begin with `# presets: NAME` (helm/presets/NAME.yaml lies under it) and `# upgrade` (rendered as
one). Does not own what renders must be (`tests/chart`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import find

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm"
GOLDEN = ROOT / "tests" / "chart" / "golden"
CASES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
# The newest is that of the golden files; renders for all of them are validated.
VERSIONS = ("1.27.0", "1.32.0", "1.37.0")

Object = dict[str, Any]


class RenderError(Exception):
    """Helm refused; the message is what it said."""


def template(*arguments: str | Path, version: str = VERSIONS[-1]) -> str:
    """What `helm template` prints. Raises RenderError."""
    command = [find("helm"), "template", "headrace", CHART, "--namespace", "headrace", "--kube-version", version]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RenderError(done.stderr)
    return done.stdout


def arguments_of(case: str) -> list[str | Path]:
    """What renders a file of helm/ci."""
    values = CHART / "ci" / f"{case}-values.yaml"
    head = [line for line in values.read_text().splitlines() if line.startswith("#")]
    presets = [line.removeprefix("# presets: ") for line in head if line.startswith("# presets: ")]
    files = [*(CHART / "presets" / f"{preset}.yaml" for preset in presets), values]
    found: list[str | Path] = [part for file in files for part in ("--values", file)]
    return [*found, *(["--is-upgrade"] if "# upgrade" in head else [])]


def objects(rendered: str) -> list[Object]:
    return [found for found in yaml.safe_load_all(rendered) if found is not None]


def pods(found: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod's name and spec, of workloads, jobs and pods alone."""
    for each in found:
        name = f"{each['kind']}/{each['metadata']['name']}"
        if each["kind"] == "Pod":
            yield name, each["spec"]
        elif each["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield name, each["spec"]["template"]["spec"]


def containers(spec: Object) -> list[Object]:
    return [*spec.get("initContainers", ()), *spec["containers"]]


# --- the README ---

_KEY = re.compile(r"^( *)(?:- )?([A-Za-z][\w.]*):(.*)$")


def readme() -> str:
    text = (CHART / "values.yaml").read_text()
    rows = "\n".join(
        f"| `{path}` | {f'`{default}`' if default else ''} | {comment} |" for path, default, comment in _rows(text)
    )
    head = (CHART / "files" / "README.head.md").read_text()
    return f"{head}\n| value | default | what it is |\n|---|---|---|\n{rows}\n"


def _rows(text: str) -> Iterator[tuple[str, str, str]]:
    """(path, default, comment) of every key that has a value or a comment, in the file's order."""
    stack: list[tuple[int, str]] = []
    comment: list[str] = []
    inside = False  # a list, shown whole beside its key
    lines = text.splitlines()
    for number, line in enumerate(lines):
        stripped = line.strip()
        inside = inside and (not stripped or len(line) - len(line.lstrip()) > stack[-1][0])
        if inside:
            continue
        if stripped.startswith("#"):
            comment.append(stripped[1:].strip())
            continue
        found = _KEY.match(line)
        if not stripped:
            comment = []
            continue
        if found is None:
            continue
        indent, key, value = len(found[1]), found[2], found[3].strip()
        stack = [(depth, name) for depth, name in stack if depth < indent]
        path = ".".join([*(name for _, name in stack), key])
        stack.append((indent, key))
        default = value or _block(lines[number + 1 :], indent)
        inside = bool(default) and not value
        if comment or default:
            yield path, default.replace("|", "\\|"), " ".join(comment).replace("|", "\\|")
        comment = []


def _block(following: list[str], indent: int) -> str:
    """A list below a key, on one line; nothing for a map, whose keys have rows of their own."""
    block: list[str] = []
    for line in following:
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        block.append(line)
    value = yaml.safe_load("\n".join(block))
    if not isinstance(value, list):
        return ""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).strip()


def main() -> int:
    if sys.argv[1:] == ["golden"]:
        for case in CASES:
            (GOLDEN / f"{case}.yaml").write_text(template(*arguments_of(case)))
    elif sys.argv[1:] == ["readme"]:
        (CHART / "README.md").write_text(readme())
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
