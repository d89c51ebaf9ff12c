"""What `headrace ingest` sends: [u32 little-endian length][options as JSON], then the file, in one stream.

A running network and a process at rest read it the same way. Does not own verification (`ingest_frames.py`,
`ingest_car.py`) nor which process reads it (`ingest.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from api.metrics import HttpMetrics
from headrace.commands.ingest_car import feed_car
from headrace.commands.ingest_frames import FrameFeed
from headrace.did_docs import DidDocs
from headrace.outcomes import Outcomes
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.relay.repo_diff import RepoLog
from schemas.errors import Refused

_PIECE = 256 * 1024
OPTIONS_MAX = 64 * 1024 * 1024


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What comes before the file. `did_docs` is the text of a JSON object, or None to resolve."""

    did_docs: str | None = None
    trust_handles: bool = False
    trust_signature: bool = False


async def take_upload(
    kind: str,
    pieces: AsyncIterator[bytes],
    *,
    log: RepoLog,
    resolver: DidResolver,
    hosted: Callable[[str], bool],
    metrics: HttpMetrics,
) -> dict[str, Any]:
    """Feed an upload into the log. Raises Refused when nothing of it can enter; `kind` is frames or car."""
    try:
        outcomes = await _feed(kind, pieces, log=log, resolver=resolver, hosted=hosted)
    except Refused as refused:
        metrics.refused.labels(kind, refused.reason.value).inc()
        raise
    metrics.accepted.labels(kind).inc(outcomes.accepted)
    for reason, count in outcomes.reasons.items():
        metrics.refused.labels(kind, reason).inc(count)
    return outcomes.summary()


async def _feed(
    kind: str, pieces: AsyncIterator[bytes], *, log: RepoLog, resolver: DidResolver, hosted: Callable[[str], bool]
) -> Outcomes:
    options, rest = await _options(pieces)
    if options.did_docs is not None:
        resolver = DidDocs.parse(options.did_docs.encode())
    if kind == "frames":
        return await FrameFeed(log, resolver, hosted, trust_handles=options.trust_handles).run(rest)
    return await feed_car(
        log,
        resolver,
        hosted,
        rest,
        trust_handles=options.trust_handles,
        trust_signature=options.trust_signature,
    )


async def upload(options: Options, file: Path) -> AsyncIterator[bytes]:
    head = msgspec.json.encode(options)
    yield len(head).to_bytes(4, "little") + head
    with await asyncio.to_thread(file.open, "rb") as opened:
        while piece := await asyncio.to_thread(opened.read, _PIECE):
            yield piece


async def _options(pieces: AsyncIterator[bytes]) -> tuple[Options, AsyncIterator[bytes]]:
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        size = int.from_bytes(buffer[:4], "little")
        if size > OPTIONS_MAX:
            break
        if len(buffer) >= 4 + size:
            try:
                options = msgspec.json.decode(buffer[4 : 4 + size], type=Options)
            except msgspec.DecodeError as error:
                raise IdentityRefused(IdentityReason.DOCUMENT, f"bad ingest options: {error}") from None
            return options, _rest(bytes(buffer[4 + size :]), pieces)
    raise IdentityRefused(IdentityReason.DOCUMENT, "expected [length][options] before the file")


async def _rest(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in pieces:
        yield piece
