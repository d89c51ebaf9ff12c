"""CAR v1 files: a header with roots, then blocks, each behind its CID (https://ipld.io/specs/transport/car/carv1/).

Every block's hash is checked when it is read. Blocks travel as mappings from binary CID to bytes.
Does not own files that arrive in pieces (`ingest.repo.car_reader`) nor what the blocks mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from ingest.repo import core
from ingest.repo.reasons import RepoReason
from schemas import cbor
from schemas.cid import CBOR_PREFIX, RAW_PREFIX, Cid
from schemas.errors import Refused

CID_SIZE = 36
HEADER_MAX = 16_384  # bytes; four hundred roots, where a repo has one
VARINT_MAX = 9  # bytes; https://github.com/multiformats/unsigned-varint

_ONE_ROOT = b"\x3a\xa2eroots\x81\xd8\x2aX\x25\x00"
_ONE_BLESSED_ROOT = _ONE_ROOT + CBOR_PREFIX
_VERSION = b"gversion\x01"
_ONE_ROOT_END = len(_ONE_ROOT) + CID_SIZE + len(_VERSION)


def read_car(data: bytes) -> tuple[list[Cid], dict[bytes, bytes]]:
    """Roots and blocks of a whole file. Raises Refused with a CAR_* reason. HOT.

    A block that stands twice is one; a root need not be among the blocks (`require_root` asks for that).
    """
    roots, at = read_header(data)
    if core.read_blocks is not None:
        found = core.read_blocks(data, at)
        if found is not None:
            return roots, found
    end = len(data)
    blocks: dict[bytes, bytes] = {}
    prefix = CBOR_PREFIX
    while at < end:
        size = data[at]
        start = at + 1
        if size >= 0x80:
            if start < end and 0 < (more := data[start]) < 0x80:
                size += (more - 1) << 7
                start += 1
            else:
                size, start = read_varint(data, at)
        at = start + size
        middle = start + 36
        cid = data[start:middle]
        block = data[middle:at]
        if prefix + sha256(block).digest() != cid or at > end:
            if at > end:
                raise Refused(RepoReason.CAR_TRUNCATED, f"a section of {size} bytes, {end - start} are left")
            check_block(data[start : min(middle, at)], block)
        blocks[cid] = block
    return roots, blocks


def read_header(data: bytes) -> tuple[list[Cid], int]:
    """The roots, and where the first section begins."""
    if data.startswith(_ONE_BLESSED_ROOT) and data[50:59] == _VERSION:
        return [Cid(data[14:50])], _ONE_ROOT_END
    size, start = read_varint(data, 0)
    if size > HEADER_MAX:
        raise Refused(RepoReason.CAR_HEADER, f"a header of {size} bytes, at most {HEADER_MAX}")
    if start + size > len(data):
        raise Refused(RepoReason.CAR_TRUNCATED, f"a header of {size} bytes, {len(data) - start} are left")
    return parse_header(data[start : start + size]), start + size


def parse_header(header: bytes) -> list[Cid]:
    try:
        value = cbor.decode(header)
    except Refused as error:
        raise Refused(RepoReason.CAR_HEADER, f"not DAG-CBOR: {error.detail}") from error
    roots = value.get("roots") if isinstance(value, dict) and value.get("version") == 1 else None
    if not isinstance(roots, list):
        raise Refused(RepoReason.CAR_HEADER, "expected a map with version 1 and the list roots")
    links = [root for root in roots if isinstance(root, Cid)]
    if len(links) != len(roots):
        raise Refused(RepoReason.CAR_HEADER, "expected roots to be links")
    return links


def read_varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """An unsigned LEB128 in minimal form, and where it ends. Raises Refused; IndexError never."""
    value = shift = 0
    for i in range(at, min(at + VARINT_MAX, len(data))):
        byte = data[i]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and shift:
                raise Refused(RepoReason.CAR_VARINT, "a length is not in its shortest form")
            return value, i + 1
        shift += 7
    if len(data) - at >= VARINT_MAX:
        raise Refused(RepoReason.CAR_VARINT, f"a length of more than {VARINT_MAX} bytes")
    raise Refused(RepoReason.CAR_TRUNCATED, "the file ends inside a length")


def check_block(cid: bytes, block: bytes) -> None:
    """Raise Refused unless a block's bytes are those that its CID names."""
    if len(cid) < CID_SIZE:
        raise Refused(RepoReason.CAR_CID, f"a section of {len(cid)} bytes cannot hold a CID")
    if cid[:4] not in (CBOR_PREFIX, RAW_PREFIX):
        raise Refused(RepoReason.CAR_CID, f"expected CIDv1 of DAG-CBOR or raw with SHA-256, found {cid.hex()}")
    if sha256(block).digest() != cid[4:]:
        raise Refused(RepoReason.CAR_HASH, f"the bytes of block {Cid(cid)} have another hash")


def require_root(roots: list[Cid], blocks: Mapping[bytes, bytes]) -> Cid:
    """The first root, whose block must be there. Raises Refused(CAR_ROOT)."""
    if not roots:
        raise Refused(RepoReason.CAR_ROOT, "the CAR names no root; the signed commit was expected first")
    if roots[0].raw not in blocks:
        raise Refused(RepoReason.CAR_ROOT, f"the block of root {roots[0]} is not in the CAR")
    return roots[0]


def write_car(roots: Iterable[Cid], blocks: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    """The file in pieces: the header, then one piece a block, in the order given."""
    header = cbor.encode({"roots": list(roots), "version": 1})
    yield varint(len(header)) + header
    for cid, block in blocks.items() if isinstance(blocks, Mapping) else blocks:
        yield varint(len(cid) + len(block)) + cid + block


def car_bytes(root: Cid, blocks: Mapping[bytes, bytes]) -> bytes:
    """A whole file with one blessed root, for a frame. HOT."""
    parts = [_ONE_ROOT, root.raw, _VERSION]
    for cid, block in blocks.items():
        parts += (varint(36 + len(block)), cid, block)
    return b"".join(parts)


def varint(value: int) -> bytes:
    """An unsigned LEB128."""
    if value < 0x80:
        return bytes((value,))
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
