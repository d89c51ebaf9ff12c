"""The facts of the machine and the versions that a result names."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil


def facts() -> dict[str, str]:
    """What a reader needs to compare."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 1e9:.1f} GB",
        "system": platform.platform(),
        "load before": " ".join(f"{each:.2f}" for each in os.getloadavg()),
    }


def versions() -> dict[str, str]:
    """Of what ran: the target is asked for its own elsewhere."""
    found = {"headrace": version("headrace"), "python": platform.python_version()}
    commit = _commit()
    return {**found, "commit": commit} if commit else found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    """Of the working tree this runs from, if it does."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - words of ours
            ("git", "-C", str(root), "rev-parse", "--short=12", "HEAD"),  # noqa: S607 - where it is differs
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
