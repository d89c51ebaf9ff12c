"""The data directory from outside: whose it is, how much room is left, which process has it, and its ports.

Does not own what is in its files (`headrace/doctor/files.py`). Changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

import orjson

from headrace import client
from headrace.doctor.finding import WrongError, some
from headrace.listeners import BindError, bind
from headrace.lock import NAME, DirectoryLock, LockedError
from headrace.settings import Settings

_OTHERS = 0o077
_LEFT = 0.1  # of the volume: the alert HeadraceDiskFills pages from there too
_GIB = 2**30
_SECONDS = 5.0
_PORTS = {"http": 80, "https": 443}


def private(directory: Path) -> str:
    """The directory and what lies in it is closed to other users; what is deeper is behind that."""
    opened = []
    for path in (directory, *sorted(directory.iterdir())):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # a process that runs makes and drops files beside us
            continue
        if mode & _OTHERS and not stat.S_ISLNK(mode):
            opened.append(f"{path} ({stat.S_IMODE(mode):04o})")
    if opened:
        raise WrongError(
            f"{some(opened)}: open to other users, expected 0700 of directories and 0600 of files:"
            f" chmod -R go= {quote(str(directory))}, and change the secrets that others may have read"
        )
    return f"{directory} and all in it is its owner's alone"


def secret_file(path: Path) -> str:
    """A secret that a setting names. A group may read it: that is how orchestrators mount them."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o007:
        raise WrongError(f"{path} has mode {mode:04o}, expected one that keeps others out: chmod o= {quote(str(path))}")
    if not path.read_bytes().strip():
        raise WrongError(f"{path} is empty, expected a secret: write it there")
    return f"{path} is there and closed to others"


def room(directory: Path) -> str:
    while not directory.exists():
        directory = directory.absolute().parent
    usage = shutil.disk_usage(directory)
    return judged_room(directory, usage.free, usage.total)


def judged_room(directory: Path, free: int, total: int) -> str:
    """Bytes. Raises WrongError when too few are left."""
    found = f"{free / _GIB:.1f} GiB of {total / _GIB:.1f} GiB are left on the volume of {directory}"
    if free < total * _LEFT:
        raise WrongError(
            f"{found}, expected a tenth or more: make the volume larger, or free room on it"
            " (docs/runbooks/HeadraceDiskFills.md)"
        )
    return found


@contextlib.contextmanager
def at_rest(directory: Path) -> Iterator[bool]:
    """Whether no process has the directory; while in here none can take it. Makes nothing."""
    if not (directory / NAME).exists():
        yield True
        return
    try:
        lock = DirectoryLock(directory)
    except LockedError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


async def process(directory: Path, *, resting: bool) -> str:
    """Who has the directory answers."""
    if resting:
        return f"no process uses {directory}"
    number = (directory / NAME).read_text("ascii", "replace").strip()
    try:
        status = await client.status(directory)
    except client.NotRunningError as error:
        raise WrongError(
            f"process {number} has {directory} locked, and does not answer ({str(error).rstrip(': ')}):"
            " expected an answer of its ops listener: when it is starting or a command runs, try again;"
            f" else look at its log and stop it (kill {number})"
        ) from error
    ready = status.get("views", {}).get("ready", True)
    return f"process {number} serves {directory}" + ("" if ready else "; its views catch up with the log")


async def ports(settings: Settings, *, resting: bool) -> str:
    """Ports can be had while nothing runs; else those who listen are asked."""
    if not resting:
        return await _listening(addresses(settings.data))
    free, taken = [], []
    for name in ("port", "plc_port", "ops_port"):
        number = getattr(settings, name)
        try:
            bind(settings.host, number, name).close()
        except BindError as error:
            taken.append(str(error))
        else:
            free.append(f"{name} {number or 'of any number'}")
    if taken:
        raise WrongError(f"expected addresses that are free, found: {'; '.join(taken)}; or stop what listens there")
    return f"free at {settings.host}: {', '.join(free)}"


def addresses(directory: Path) -> Mapping[str, Any]:
    """Where the process that has the directory listens; nothing before it serves."""
    try:
        found = orjson.loads((directory / client.ADDRESSES).read_bytes())
    except FileNotFoundError:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


async def _listening(found: Mapping[str, str]) -> str:
    silent = []
    for name, address in found.items():
        parts = urlsplit(address)
        try:
            async with asyncio.timeout(_SECONDS):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or _PORTS[parts.scheme])
        except (OSError, TimeoutError):
            silent.append(f"{name} at {address}")
        else:
            writer.close()
    if silent:
        raise WrongError(f"nothing listens as {some(silent)}, expected its process to: look at its log, start it again")
    return f"ours: {', '.join(f'{name} {address}' for name, address in found.items())}"
