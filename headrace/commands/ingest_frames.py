"""Firehose frames from a file into the log: parsed, verified, appended; per account in the file's order.

The file is frames one after the other, each [u32 little-endian length][bytes]. Accounts hosted here are refused: only
their PDS writes them. Does not own what becomes of a frame (`ingest.relay.intake`, as of a relay's) nor where the bytes
come from (`headrace/commands/ingest.py`).
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from enum import StrEnum

from headrace.outcomes import Outcomes
from ingest.identity.did_doc import DidDocument
from ingest.identity.resolver import DidResolver
from ingest.relay.intake import Intake
from ingest.relay.intake_ports import IntakeLog
from ingest.relay.lines import Lines
from ingest.relay.quotas import Bucket, Rate
from ingest.relay.source import Numbered, Source
from ingest.relay.verifier import InlineVerifier
from ingest.repo.reasons import RepoReason
from schemas.errors import Refused
from schemas.limits import FRAME_MAX
from schemas.syntax import Did, Handle

# Appends under way: enough for the log's group commit, few enough that memory stays small.
_CONCURRENT = 64


class FeedReason(StrEnum):
    """Why a file is refused from some place on."""

    FILE_TRUNCATED = "file_truncated"


class _File(Source):
    """A file as a source: nothing but what becomes of its frames is of interest."""

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__("file", "file", room=_CONCURRENT, refreshes=Bucket(Rate(math.inf, 1)))
        self._outcomes = outcomes

    def took(self, kind: str, message: Numbered) -> None:  # noqa: ARG002 - the base's
        self._outcomes.accept()

    def refused(self, refused: Refused, did: str = "") -> None:
        self._outcomes.refuse(refused, did)


class FrameFeed:
    """Feeds one file. `hosted` says which accounts this network's own PDS has."""

    def __init__(
        self,
        log: IntakeLog,
        resolver: DidResolver,
        hosted: Callable[[str], bool],
        *,
        trust_handles: bool = False,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._outcomes = Outcomes("frames")
        self._source = _File(self._outcomes)
        self._lines = Lines()
        self._intake = Intake(
            self._lines,
            log,
            resolver,
            InlineVerifier(),
            hosted=hosted,
            handle_of=_as_claimed if trust_handles else _nothing,
            introduce=trust_handles,
            now=now,
        )

    async def run(self, pieces: AsyncIterator[bytes]) -> Outcomes:
        """Everything up to the file's end. An error of ours ends it and is raised."""
        try:
            async for frame in frames(pieces):
                await self._offer(frame)
        except Refused as refused:
            self._outcomes.refuse(refused)
        finally:
            await self._lines.idle()
        return self._outcomes

    async def _offer(self, frame: bytes) -> None:
        try:
            other = await self._intake.offer(self._source, frame)
        except Refused as refused:
            self._outcomes.refuse(refused)
        else:
            if other is not None:
                self._outcomes.ignore()


async def _as_claimed(_did: Did, document: DidDocument, _fresh: bool) -> Handle | None:  # noqa: FBT001 - the port's
    return document.handles[0] if document.handles else None


async def _nothing(_did: Did, _document: DidDocument, _fresh: bool) -> Handle | None:  # noqa: FBT001 - the port's
    return None


async def frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole frames out of a stream. Raises Refused(FILE_TRUNCATED, FRAME_SIZE); holds one frame and one piece."""
    buffer = bytearray()
    async for piece in pieces:
        buffer += piece
        at = 0
        while len(buffer) - at >= 4:
            size = int.from_bytes(buffer[at : at + 4], "little")
            if size > FRAME_MAX:
                expected = f"expected [u32 little-endian length][bytes], at most {FRAME_MAX}"
                raise Refused(RepoReason.FRAME_SIZE, f"a frame of {size} bytes: {expected}")
            if len(buffer) - at - 4 < size:
                break
            yield bytes(buffer[at + 4 : at + 4 + size])
            at += 4 + size
        del buffer[:at]
    if buffer:
        raise Refused(FeedReason.FILE_TRUNCATED, f"the file ends inside a frame, {len(buffer)} bytes over")
