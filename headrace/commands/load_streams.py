"""`headrace load record|serve`: from a live stream into an archive, and out of it again.

Does not own what they do (`headrace/load/archive/record.py`, `headrace/load/serve_archive.py`).
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from headrace.commands.common import DONE, Json, fail, show
from headrace.commands.load_common import Source, say_cut, tried
from headrace.load.archive.directory import Directory
from headrace.load.archive.reader import Archive, last_seq
from headrace.load.archive.record import Recorder
from headrace.load.archive.writer import ArchiveWriter
from headrace.load.pace import flat_out, recorded, steady
from headrace.load.serve_archive import ArchiveHost


def record(
    host: Annotated[str, Parameter(help="A host of subscribeRepos, as wss://relay.example.com.")],
    archive: Source,
    *,
    plc: Annotated[str | None, Parameter(help="did:plc directory to ask for documents; none are kept without.")] = None,
    frames: Annotated[int | None, Parameter(help="Stop after this many.")] = None,
    seconds: Annotated[float | None, Parameter(help="Stop after this long.")] = None,
    cursor: Annotated[int | None, Parameter(help="Begin after this seq; by default where the archive ends.")] = None,
    as_json: Json = False,
) -> int:
    """Record a firehose until told to stop; go on where the archive ends."""
    for url in (host, plc or "https:"):
        if not url.startswith(("ws:", "wss:", "http:", "https:")):
            return fail(2, f"expected an address as wss://relay.example.com or https://plc.example.com, found {url!r}")
    return tried(lambda: asyncio.run(_record(host, archive, plc, frames, seconds, cursor, as_json=as_json)))


async def _record(  # noqa: PLR0917 - the command's own parameters
    host: str,
    archive: Path,
    plc: str | None,
    frames: int | None,
    seconds: float | None,
    cursor: int | None,
    *,
    as_json: bool,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    directory = None if plc is None else Directory(plc)
    try:
        with ArchiveWriter(archive, source=host) as writer:
            say_cut(writer)
            known = last_seq(archive)
            recorder = Recorder(host, writer, directory, cursor=known if cursor is None else cursor)
            await recorder.run(frames=frames, stop=stop)
    finally:
        if directory is not None:
            await directory.close()
    counts = {"frames": recorder.frames, "documents": recorder.documents, "undocumented": recorder.undocumented}
    show({**counts, "connections": recorder.connections, "cursor": recorder.cursor}, as_json=as_json)
    return DONE


def serve(
    archive: Source,
    *,
    port: Annotated[int, Parameter(help="Port; 0 lets the system choose.")] = 0,
    times: Annotated[float | None, Parameter(help="So many times the recorded speed.")] = None,
    rate: Annotated[float | None, Parameter(help="So many events a second.")] = None,
    loop: Annotated[bool, Parameter(help="Begin again at the end, with seqs that go on rising.", negative=())] = False,
    keep_pds: Annotated[bool, Parameter(help="Leave the PDS in documents as recorded.", negative=())] = False,
) -> int:
    """Play an archive as a host and did:plc directory, as fast as subscribers read unless --times or --rate says."""
    if (times is not None and rate is not None) or (times or rate or 1) <= 0:
        return fail(2, "expected one of --times and --rate, above 0")

    def act() -> int:
        pace = flat_out if times is None else recorded(Archive(archive), times)
        host = ArchiveHost(
            archive,
            pace if rate is None else steady(rate),
            port=port,
            loops=None if loop else 1,
            rename=not keep_pds,
        )
        return asyncio.run(_serve(host))

    return tried(act)


async def _serve(host: ArchiveHost) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with host:
        sys.stdout.write(f"{host.url}\n")
        sys.stdout.flush()
        await stop.wait()
    return DONE


COMMANDS: dict[str, Callable[..., Any]] = {"record": record, "serve": serve}
