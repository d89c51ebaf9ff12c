"""`headrace load record|info|verify|cut|cat|import|export|serve`: archives of firehoses.

Does not own what the commands do (`headrace/load/archive/`, `headrace/load/serve_archive.py`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from headrace.commands.common import DONE, FAILED, REFUSED, Json, fail, show
from headrace.listeners import BindError
from headrace.load.archive import jetstream
from headrace.load.archive.cut import cut, export_frames, import_frames, shown
from headrace.load.archive.directory import Directory
from headrace.load.archive.reader import Archive, Wanted, hashes, last_seq
from headrace.load.archive.record import Recorder
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import DOCUMENTS, FRAMES, ArchiveWriter
from headrace.load.serve_archive import ArchiveHost, flat_out, recorded, steady
from schemas.datetimes import from_micros, micros
from schemas.errors import Refused

Source = Annotated[Path, Parameter(help="An archive: a directory.")]
Since = Annotated[str | None, Parameter(help="Received at or after this time (as 2026-01-31T12:00:00Z).")]
Until = Annotated[str | None, Parameter(help="Received before this time.")]
Dids = Annotated[list[str] | None, Parameter(name="--did", help="Of this account; may be repeated.", negative=())]
Collections = Annotated[
    list[str] | None,
    Parameter(name="--collection", help="Writes to this collection, or all below `app.bsky.feed.*`.", negative=()),
]


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
    return _tried(lambda: asyncio.run(_record(host, archive, plc, frames, seconds, cursor, as_json=as_json)))


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
            _say_cut(writer)
            known = last_seq(archive)
            recorder = Recorder(host, writer, directory, cursor=known if cursor is None else cursor)
            await recorder.run(frames=frames, stop=stop)
    finally:
        if directory is not None:
            await directory.close()
    counts = {"frames": recorder.frames, "documents": recorder.documents, "undocumented": recorder.undocumented}
    show({**counts, "connections": recorder.connections, "cursor": recorder.cursor}, as_json=as_json)
    return DONE


def info(
    archive: Source,
    *,
    content_hash: Annotated[bool, Parameter(name="--hash", help="Read it all for its hash.", negative=())] = False,
    as_json: Json = False,
) -> int:
    """Say what an archive holds."""
    return _tried(lambda: _info(Archive(archive), content_hash=content_hash, as_json=as_json))


def _info(archive: Archive, *, content_hash: bool, as_json: bool) -> int:
    said: dict[str, Any] = {"source": archive.source, "signed": archive.signed}
    for holds in (FRAMES, DOCUMENTS):
        indexes = [archive.index(path) for path in archive.segments(holds)]
        blocks = [block for index in indexes for block in index.blocks]
        damages = [damage for index in indexes for damage in index.damages]
        said[holds] = {
            "items": sum(block.held for block in blocks),
            "segments": len(indexes),
            "bytes": sum(index.covered for index in indexes),
            "damaged_bytes": sum(damage.length for damage in damages),
        }
        if blocks:
            said[holds]["first_time"] = from_micros(min(block.first_time for block in blocks))
            said[holds]["last_time"] = from_micros(max(block.last_time for block in blocks))
        if blocks and holds == FRAMES:
            said[holds]["first_seq"] = min(block.first_seq for block in blocks)
            said[holds]["last_seq"] = max(block.last_seq for block in blocks)
            said[holds]["accounts_per_segment"] = max(index.accounts for index in indexes)
    if content_hash:
        said["hash"] = archive.content_hash()
    show(said, as_json=as_json)
    return DONE


def verify(archive: Source, *, as_json: Json = False) -> int:
    """Check every frame offline: signatures, hashes, inversion, chains; exit code 3 when anything fails."""
    return _tried(lambda: _verify(Archive(archive), as_json=as_json))


def _verify(archive: Archive, *, as_json: bool) -> int:
    report = Verifier(archive, progress=_progress if sys.stderr.isatty() else None).run()
    said = report.as_dict()
    said["damages"] = [{"segment": lost.segment, **lost.damage._asdict()} for lost in archive.damages]
    show(said, as_json=as_json)
    return REFUSED if report.failures or archive.damages else DONE


def _progress(frames: int) -> None:
    sys.stderr.write(f"\r{frames} frames")


def cut_(
    archive: Source,
    out: Annotated[Path, Parameter(help="The archive that takes what is cut out.")],
    *,
    since: Since = None,
    until: Until = None,
    did: Dids = None,
    collection: Collections = None,
    as_json: Json = False,
) -> int:
    """Copy a part of an archive, byte for byte, into another."""

    def act() -> int:
        source = Archive(archive)
        with ArchiveWriter(out, source=source.source, signed=source.signed) as writer:
            copied = cut(source, writer, _wanted(since, until, did), collection or ())
        return _done(source, {"frames": copied}, as_json=as_json)

    return _tried(act)


def cat(
    archive: Source,
    *,
    since: Since = None,
    until: Until = None,
    did: Dids = None,
    documents: Annotated[bool, Parameter(help="Show the DID documents instead.", negative=())] = False,
    as_json: Json = False,  # noqa: ARG001 - there is no other form
) -> int:
    """Print frames as JSON, one a line."""

    def act() -> int:
        source = Archive(archive)
        for item in source.items(_wanted(since, until, did), DOCUMENTS if documents else FRAMES):
            sys.stdout.buffer.write(orjson.dumps(shown(item)) + b"\n")
        return _done(source, {}, as_json=True)

    return _tried(act)


def import_(
    file: Annotated[Path, Parameter(help="Jetstream's JSON lines, plain or zstd; or frames, with --frames.")],
    archive: Source,
    *,
    frames: Annotated[
        bool, Parameter(help="FILE is frames, each [u32 little-endian length][bytes].", negative=())
    ] = False,
    did_docs: Annotated[Path | None, Parameter(help="With --frames: JSON object of DID to DID document.")] = None,
    as_json: Json = False,
) -> int:
    """Put Jetstream's lines (unsigned) or a file of frames into an archive; exit code 3 when not all went in."""

    def act() -> int:
        with ArchiveWriter(archive, source=file.name, signed=frames) as writer:
            _say_cut(writer)
            if frames:
                show({"frames": import_frames(file, did_docs, writer)}, as_json=as_json)
                return DONE
            with file.open("rb") as opened:
                taken, refused = jetstream.import_lines(opened, writer)
        show({"lines": taken, "refused": [str(each) for each in refused]}, as_json=as_json)
        return REFUSED if refused else DONE

    return _tried(act)


def export(
    archive: Source,
    file: Annotated[Path, Parameter(help="A new file; zstd when its name ends in .zst.")],
    *,
    frames: Annotated[bool, Parameter(help="Write frames, each [u32 length][bytes], not lines.", negative=())] = False,
    since: Since = None,
    until: Until = None,
    did: Dids = None,
    as_json: Json = False,
) -> int:
    """Write an archive as Jetstream's JSON lines, or as a file of frames."""

    def act() -> int:
        source, wanted = Archive(archive), _wanted(since, until, did)
        if frames:
            return _done(source, {"frames": export_frames(source, file, wanted)}, as_json=as_json)
        written = jetstream.write_lines(jetstream.export_lines(source, wanted), file)
        return _done(source, {"lines": written}, as_json=as_json)

    return _tried(act)


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

    return _tried(act)


async def _serve(host: ArchiveHost) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with host:
        sys.stdout.write(f"{host.url}\n")
        sys.stdout.flush()
        await stop.wait()
    return DONE


def _wanted(since: str | None, until: str | None, dids: list[str] | None) -> Wanted:
    plain = Wanted()
    return Wanted(
        plain.since if since is None else _moment(since),
        plain.until if until is None else _moment(until),
        plain.after,
        None if not dids else hashes(dids),
    )


def _moment(text: str) -> int:
    found = micros(text)
    if found is None or found < 0:
        raise ValueError(f"expected a time as 2026-01-31T12:00:00Z, found {text!r}")
    return found


def _say_cut(writer: ArchiveWriter) -> None:
    for name, damage in writer.cut.items():
        sys.stderr.write(f"headrace: {name} ended within a block: {damage.length} bytes were cut off\n")


def _done(archive: Archive, said: dict[str, Any], *, as_json: bool) -> int:
    """Say what was done, and what could not be read: then the exit code is 3."""
    if said:
        show(said, as_json=as_json)
    for lost in archive.damages:
        where = f"{lost.segment}: {lost.damage.length} bytes at {lost.damage.offset}"
        sys.stderr.write(f"headrace: {where} hold no good block; the rest was read\n")
    return REFUSED if archive.damages else DONE


def _tried(act: Callable[[], int]) -> int:
    try:
        return act()
    except Refused as refused:
        return fail(REFUSED, str(refused))
    except ValueError as error:
        return fail(2, str(error))
    except BindError as error:
        return fail(2, str(error))
    except BrokenPipeError:  # whoever read our lines has enough of them
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - else closing it fails once more
        return DONE
    except OSError as error:
        return fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))


COMMANDS: dict[str, Callable[..., Any]] = {
    "record": record,
    "info": info,
    "verify": verify,
    "cut": cut_,
    "cat": cat,
    "import": import_,
    "export": export,
    "serve": serve,
}
