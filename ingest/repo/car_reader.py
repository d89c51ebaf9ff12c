"""A CAR that arrives in pieces: feed bytes, take blocks. Holds no more than one section and what was fed last.

Does not own the format's rules (`ingest.repo.car`), nor where the bytes come from or the blocks go.
"""

from __future__ import annotations

from ingest.repo import car
from ingest.repo.reasons import RepoReason
from schemas.cid import Cid
from schemas.errors import Refused
from schemas.limits import COMMIT_BLOCKS_MAX

SECTION_MAX = car.CID_SIZE + COMMIT_BLOCKS_MAX  # bytes; no block is larger than all of a commit that could bring it


class CarReader:
    """`max_size` bounds the whole file in bytes. `roots` is None until the header is read.

    After a Refused the reader is to be thrown away.
    """

    __slots__ = ("_buffer", "_max_size", "fed", "roots")

    def __init__(self, max_size: int) -> None:
        self._buffer = bytearray()
        self._max_size = max_size
        self.fed = 0
        self.roots: list[Cid] | None = None

    def feed(self, chunk: bytes) -> list[tuple[bytes, bytes]]:
        """The blocks that are whole by now, each with its binary CID, hashes checked. Raises Refused (CAR_*)."""
        self.fed += len(chunk)
        if self.fed > self._max_size:
            raise Refused(RepoReason.CAR_SIZE, f"more than {self._max_size} bytes")
        buffer = self._buffer
        buffer += chunk
        at = 0
        blocks: list[tuple[bytes, bytes]] = []
        while (bounds := self._section(at)) is not None:
            start, at = bounds
            if self.roots is None:
                self.roots = car.parse_header(bytes(buffer[start:at]))
                continue
            cid, block = bytes(buffer[start : start + car.CID_SIZE]), bytes(buffer[start + car.CID_SIZE : at])
            car.check_block(cid, block)
            blocks.append((cid, block))
        del buffer[:at]
        return blocks

    def finish(self) -> list[Cid]:
        """The roots, when nothing is left over. Raises Refused(CAR_TRUNCATED)."""
        if self.roots is None or self._buffer:
            raise Refused(RepoReason.CAR_TRUNCATED, f"the file ends inside a section, {len(self._buffer)} bytes over")
        return self.roots

    def _section(self, at: int) -> tuple[int, int] | None:
        """Where the next section's content starts and ends, if it is all there."""
        buffer = self._buffer
        head = bytes(buffer[at : at + car.VARINT_MAX])
        if not head or (len(head) < car.VARINT_MAX and all(byte >= 0x80 for byte in head)):
            return None
        size, width = car.read_varint(head, 0)
        most = car.HEADER_MAX if self.roots is None else SECTION_MAX
        if size > most:
            raise Refused(RepoReason.CAR_SIZE, f"a section of {size} bytes, at most {most}")
        end = at + width + size
        return None if end > len(buffer) else (at + width, end)
