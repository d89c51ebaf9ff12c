"""Compile ingest/repo/core when the package is built, if this machine has a C compiler and Python's headers.

Where it has not, nothing is missing but speed. HEADRACE_CORE=require makes that an error (for images and CI),
HEADRACE_CORE=skip leaves the core out. Does not own what the core does (ingest/repo/core/__init__.py).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from hashlib import sha256
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("ingest/repo/core")
FLAGS = ("-O3", "-std=c11", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra")


class Compile(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the compiled core beside its source, and into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        made = compile_core(Path(self.root))
        if made is None:
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"][str(made)] = str(made.relative_to(self.root))


def compile_core(root: Path) -> Path | None:
    """The compiled file, or None when there is none to be had; one of another source is taken away."""
    wish = os.environ.get("HEADRACE_CORE", "")
    folder = root / FOLDER
    made = folder / f"_compiled{sysconfig.get_config_var('EXT_SUFFIX')}"
    why = "HEADRACE_CORE=skip" if wish == "skip" else _compile(folder, made)
    if why is None:
        return made
    made.unlink(missing_ok=True)
    if wish == "require":
        message = f"expected to compile {FOLDER}, as HEADRACE_CORE=require says: {why}"
        raise RuntimeError(message)
    sys.stderr.write(f"{FOLDER} is not compiled ({why}): its twin in Python serves, more slowly\n")
    return None


def source_digest(folder: Path) -> str:
    """What the compiled core names as its SOURCE."""
    digest = sha256()
    for path in sorted(folder.glob("*.[ch]")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _compile(folder: Path, made: Path) -> str | None:
    """Why there is nothing compiled, or None when there is."""
    compiler = os.environ.get("CC") or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    include = Path(sysconfig.get_path("include"))
    if compiler is None:
        return "no C compiler on PATH"
    if not (include / "Python.h").exists():
        return f"no Python.h in {include}"
    fresh = made.with_name(f".{made.name}.{os.getpid()}")
    link = ("-undefined", "dynamic_lookup") if sys.platform == "darwin" else ()
    source = f'-DSOURCE="{source_digest(folder)}"'
    command = [*compiler.split(), *FLAGS, *link, source, f"-I{include}", *map(str, sorted(folder.glob("*.c")))]
    try:
        done = subprocess.run(  # noqa: S603 - the compiler of the machine, on the project's own files
            [*command, "-o", str(fresh)], capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            return f"{compiler}: {done.stderr.strip()[-400:]}"
        fresh.replace(made)  # whole or not at all: a running process keeps the one it has loaded
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        fresh.unlink(missing_ok=True)
    return None


if __name__ == "__main__":
    sys.exit(compile_core(Path(__file__).resolve().parent) is None)
