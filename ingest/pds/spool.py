"""A CAR on disk, its blocks found by CID: what is too large for memory, for as long as it is looked at.

Does not own what the blocks mean (importer.py).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ingest.repo.car_reader import CarReader
from ingest.repo.mst_node import EMPTY, NODE_CID
from ingest.repo.reasons import RepoReason
from schemas.cid import Cid
from schemas.errors import Refused

EMPTY_NODE = Cid.of_cbor(EMPTY).raw
_BLOCKS_MAX = 2_000_000  # blocks; the index takes some 150 bytes each


class Spool:
    """`root` is set once `take` has returned. Used in a `with`; the file has no name, so a crash leaves nothing."""

    def __init__(self, directory: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - closed by __exit__
        self._places: dict[bytes, tuple[int, int]] = {}
        self.root = Cid(NODE_CID)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def take(self, chunks: AsyncIterator[bytes], limit: int) -> None:
        """Raises Refused (CAR_*)."""
        reader = CarReader(limit)
        at = 0
        async for chunk in chunks:
            for cid, block in reader.feed(chunk):
                if cid not in self._places:
                    self._places[cid] = (at, len(block))
                    self._file.write(block)
                    at += len(block)
            if len(self._places) > _BLOCKS_MAX:
                raise Refused(RepoReason.CAR_SIZE, f"more than {_BLOCKS_MAX} blocks")
        roots = reader.finish()
        if not roots or roots[0].raw not in self._places:
            raise Refused(RepoReason.CAR_ROOT, "expected the signed commit as first root, and its block in the CAR")
        self.root = roots[0]
        self._file.flush()

    def load(self, cid: bytes) -> bytes:
        """Raises KeyError when the CAR has no such block."""
        if cid == EMPTY_NODE:
            return EMPTY
        at, size = self._places[cid]
        return os.pread(self._file.fileno(), size, at)

    def size(self, cid: bytes) -> int:
        """Raises KeyError when the CAR has no such block."""
        return self._places[cid][1]
