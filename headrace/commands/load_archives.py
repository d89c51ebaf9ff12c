"""`headrace load info|verify|cut|cat|import|export`: archives of firehoses.

Does not own what the commands do (`headrace/load/archive/`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
from cyclopts import Parameter

from headrace.commands.common import DONE, REFUSED, Json, show
from headrace.commands.load_common import Source, say_cut, tried
from headrace.load.archive import jetstream
from headrace.load.archive.cut import cut, export_frames, import_frames, shown
from headrace.load.archive.reader import Archive, Wanted, hashes
from headrace.load.archive.verify import Verifier
from headrace.load.archive.writer import DOCUMENTS, FRAMES, ArchiveWriter
from schemas.datetimes import from_micros, micros

Since = Annotated[str | None, Parameter(help="Received at or after this time (as 2026-01-31T12:00:00Z).")]
Until = Annotated[str | None, Parameter(help="Received before this time.")]
Dids = Annotated[list[str] | None, Parameter(name="--did", help="Of this account; may be repeated.", negative=())]
Collections = Annotated[
    list[str] | None,
    Parameter(name="--collection", help="Writes to this collection, or all below `app.bsky.feed.*`.", negative=()),
]


def info(
    archive: Source,
    *,
    content_hash: Annotated[bool, Parameter(name="--hash", help="Read it all for its hash.", negative=())] = False,
    as_json: Json = False,
) -> int:
    """Say what an archive holds."""
    return tried(lambda: _info(Archive(archive), content_hash=content_hash, as_json=as_json))


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
    return tried(lambda: _verify(Archive(archive), as_json=as_json))


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

    return tried(act)


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

    return tried(act)


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
            say_cut(writer)
            if frames:
                show({"frames": import_frames(file, did_docs, writer)}, as_json=as_json)
                return DONE
            with file.open("rb") as opened:
                taken, refused = jetstream.import_lines(opened, writer)
        show({"lines": taken, "refused": [str(each) for each in refused]}, as_json=as_json)
        return REFUSED if refused else DONE

    return tried(act)


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

    return tried(act)


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


def _done(archive: Archive, said: dict[str, Any], *, as_json: bool) -> int:
    """Say what was done, and what could not be read: then the exit code is 3."""
    if said:
        show(said, as_json=as_json)
    for lost in archive.damages:
        where = f"{lost.segment}: {lost.damage.length} bytes at {lost.damage.offset}"
        sys.stderr.write(f"headrace: {where} hold no good block; the rest was read\n")
    return REFUSED if archive.damages else DONE


COMMANDS: dict[str, Callable[..., Any]] = {
    "info": info,
    "verify": verify,
    "cut": cut_,
    "cat": cat,
    "import": import_,
    "export": export,
}
