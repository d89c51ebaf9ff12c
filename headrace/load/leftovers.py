"""What runs leave outside of themselves, taken away: a cluster's topics and keyspaces, and directories of dead runs.

A run takes its own away when it ends. What a run that was killed has left, the next one does, or `headrace load clean`:
the mark in its name (`owner.py`) says that its process has ended. What no dead process of this machine has made is not
touched, unless it is named. Does not own which cluster a run has (`cluster.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec.structs import replace

from headrace.load import owner
from ingest.log_kafka.client import KafkaSettings, new_admin
from views.cql.session import CqlSession
from views.cql.settings import CqlSettings

PREFIX = "load_"
"""Begins the names of clusters that runs make."""
DIRECTORIES = "headrace-load-"
"""Begins the names of directories that runs make in TMPDIR."""


def new_cluster() -> str:
    """A name of this process's own."""
    return f"{PREFIX}{owner.mark()}"


def new_directory() -> tempfile.TemporaryDirectory[str]:
    """One of this process's own, which goes with it."""
    return tempfile.TemporaryDirectory(prefix=f"{DIRECTORIES}{owner.mark()}-")


def drop_directories() -> list[str]:
    """Take away those in TMPDIR whose processes were killed; their paths. Raises OSError."""
    taken = []
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{DIRECTORIES}*")):
        is_mine = not path.is_symlink() and path.is_dir() and path.stat().st_uid == os.getuid()
        if is_mine and owner.is_dead(path.name.removeprefix(DIRECTORIES)):
            with contextlib.suppress(FileNotFoundError):  # another run does the same
                shutil.rmtree(path)
            taken.append(str(path))
    return taken


async def drop_dead(kafka: KafkaSettings, cql: CqlSettings) -> list[str]:
    """Take every cluster away whose run was killed; their names."""
    admin = new_admin(kafka)
    await admin.start()
    try:
        found = set(_dead(name.partition(".")[0] for name in await admin.list_topics()))
    finally:
        await admin.close()
    found |= set(_dead(await _keyspaces(cql)))
    for name in sorted(found):
        await drop_cluster(name, kafka, cql)
    return sorted(found)


async def drop_cluster(name: str, kafka: KafkaSettings, cql: CqlSettings) -> None:
    """Take one away, whoever made it; what of it is gone already is no error."""
    await drop_topics(replace(kafka, cluster=name))
    await drop_keyspaces(replace(cql, keyspace=name))


async def drop_topics(settings: KafkaSettings) -> None:
    """Every topic of the cluster."""
    _is_ours(settings.cluster)
    admin = new_admin(settings)
    await admin.start()
    try:
        names = [name for name in await admin.list_topics() if name.startswith(settings.topic(""))]
        if names:
            await admin.delete_topics(names)
    finally:
        await admin.close()


async def drop_keyspaces(settings: CqlSettings) -> None:
    """Every keyspace of the cluster."""
    _is_ours(settings.keyspace)
    session = await CqlSession.connect(settings)
    try:
        for (name,) in await session.admin("SELECT keyspace_name FROM system_schema.keyspaces"):
            if name == settings.keyspace or name.startswith(f"{settings.keyspace}_"):
                await session.admin(f"DROP KEYSPACE IF EXISTS {name}")
    finally:
        await session.close()


def _dead(names: Iterable[str]) -> Iterator[str]:
    """The clusters of killed runs among names that begin with a cluster's."""
    length = len(PREFIX) + owner.LENGTH
    for name in names:
        if name.startswith(PREFIX) and owner.is_dead(name.removeprefix(PREFIX)):
            yield name[:length]


async def _keyspaces(settings: CqlSettings) -> list[str]:
    session = await CqlSession.connect(settings)
    try:
        return [name for (name,) in await session.admin("SELECT keyspace_name FROM system_schema.keyspaces")]
    finally:
        await session.close()


def _is_ours(name: str) -> None:
    if not name.startswith(PREFIX):
        raise ValueError(f"expected a name that begins with {PREFIX}, found {name!r}: it is not taken away")
