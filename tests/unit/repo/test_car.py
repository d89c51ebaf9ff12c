"""CAR files, whole and in pieces: what goes in comes out, and hostile ones are refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.repo.car import HEADER_MAX, VARINT_MAX, car_bytes, read_car, read_varint, require_root, varint, write_car
from ingest.repo.car_reader import SECTION_MAX, CarReader
from ingest.repo.reasons import RepoReason
from schemas import cbor
from schemas.cid import Cid
from schemas.errors import Refused

pytestmark = pytest.mark.usefixtures("each_core")

BLOCKS = {Cid.of_cbor(data).raw: data for data in (b"\xa0", b"\xa1aa\x01", b"x" * 200, b"y" * 20_000)}
BLOB = b"a blob"
ROOT = Cid(next(iter(BLOCKS)))
WHOLE = car_bytes(ROOT, BLOCKS)
START = len(car_bytes(ROOT, {}))


def section(cid: bytes, block: bytes) -> bytes:
    return varint(len(cid) + len(block)) + cid + block


def header(value: object) -> bytes:
    data = cbor.encode(value)
    return varint(len(data)) + data


def fed(data: bytes, size: int) -> tuple[list[Cid], dict[bytes, bytes]]:
    reader = CarReader(max_size=10_000_000)
    blocks: dict[bytes, bytes] = {}
    for at in range(0, len(data), size):
        blocks.update(reader.feed(data[at : at + size]))
    return reader.finish(), blocks


def test_what_is_written_is_read():
    assert b"".join(write_car([ROOT], BLOCKS)) == WHOLE
    assert read_car(WHOLE) == ([ROOT], BLOCKS)
    assert require_root(*read_car(WHOLE)) == ROOT
    assert b"".join(write_car([ROOT], iter(BLOCKS.items()))) == WHOLE


@pytest.mark.parametrize("roots", [0, 2, 30])
def test_other_numbers_of_roots_are_read(roots):
    many = [ROOT] * roots

    assert read_car(b"".join(write_car(many, BLOCKS))) == (many, BLOCKS)


@pytest.mark.parametrize("size", [1, 2, 7, 100, 4_096, 1_000_000])
def test_a_file_in_pieces_gives_the_same_blocks(size):
    assert fed(WHOLE, size) == ([ROOT], BLOCKS)


def test_a_blob_under_its_raw_cid_is_read():
    raw = Cid.of_raw(BLOB)

    assert read_car(car_bytes(ROOT, {raw.raw: BLOB}))[1] == {raw.raw: BLOB}


def test_a_block_that_stands_twice_is_one():
    data = WHOLE + WHOLE[START:]

    assert read_car(data) == fed(data, 100) == ([ROOT], BLOCKS)


FALSE = Cid.of_cbor(b"other").raw
HOSTILE = {
    "nothing": (b"", RepoReason.CAR_TRUNCATED),
    "a header cut short": (WHOLE[:20], RepoReason.CAR_TRUNCATED),
    "a block cut short": (WHOLE[:-1], RepoReason.CAR_TRUNCATED),
    "a length without its block": (WHOLE + b"\x40", RepoReason.CAR_TRUNCATED),
    "a length cut short": (WHOLE + b"\x80", RepoReason.CAR_TRUNCATED),
    "a section of no bytes": (WHOLE + b"\x00", RepoReason.CAR_CID),
    "a section shorter than a CID": (WHOLE + b"\x05" + b"\x01q\x12\x20x", RepoReason.CAR_CID),
    "a length that is not minimal": (WHOLE + b"\x80\x00", RepoReason.CAR_VARINT),
    "a length that overflows": (WHOLE + b"\xff" * VARINT_MAX + b"\x01", RepoReason.CAR_VARINT),
    "a block under another CID": (WHOLE + section(FALSE, b"block"), RepoReason.CAR_HASH),
    "a blob under another CID": (WHOLE + section(Cid.of_raw(b"no").raw, b"block"), RepoReason.CAR_HASH),
    "a CID of another hash": (WHOLE + section(b"\x01q\x13\x20" + bytes(32), b"block"), RepoReason.CAR_CID),
    "a CID of version 0": (WHOLE + section(b"\x12\x20" + bytes(34), b"block"), RepoReason.CAR_CID),
    "a header that is not CBOR": (b"\x01\xff", RepoReason.CAR_HEADER),
    "a header of version 2": (header({"roots": [ROOT], "version": 2}), RepoReason.CAR_HEADER),
    "a header without roots": (header({"version": 1}), RepoReason.CAR_HEADER),
    "roots that are no links": (header({"roots": [ROOT.raw], "version": 1}), RepoReason.CAR_HEADER),
    "a header of other shape": (header([]), RepoReason.CAR_HEADER),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason(name):
    data, reason = HOSTILE[name]

    with pytest.raises(Refused) as caught:
        read_car(data)
    assert caught.value.reason == reason
    for size in (1, 1_000_000):
        with pytest.raises(Refused) as caught:
            fed(data, size)
        assert caught.value.reason == reason


def test_a_root_without_its_block_is_refused():
    for roots in ([], [Cid(FALSE)]):
        with pytest.raises(Refused) as caught:
            require_root(roots, BLOCKS)
        assert caught.value.reason == RepoReason.CAR_ROOT


def test_a_header_is_bounded():
    over = varint(HEADER_MAX + 1)

    with pytest.raises(Refused) as caught:
        read_car(over + bytes(HEADER_MAX + 1))
    assert caught.value.reason == RepoReason.CAR_HEADER
    with pytest.raises(Refused) as caught:
        CarReader(max_size=1_000).feed(over)
    assert caught.value.reason == RepoReason.CAR_SIZE


def test_a_reader_refuses_a_section_before_it_holds_it():
    reader = CarReader(max_size=10_000_000)
    reader.feed(WHOLE)

    assert reader.feed(varint(SECTION_MAX)) == []
    reader = CarReader(max_size=10_000_000)
    reader.feed(WHOLE)
    with pytest.raises(Refused) as caught:
        reader.feed(varint(SECTION_MAX + 1))
    assert caught.value.reason == RepoReason.CAR_SIZE


def test_a_reader_refuses_more_bytes_than_it_was_allowed():
    assert CarReader(max_size=len(WHOLE)).feed(WHOLE)
    with pytest.raises(Refused) as caught:
        CarReader(max_size=len(WHOLE) - 1).feed(WHOLE)
    assert caught.value.reason == RepoReason.CAR_SIZE


@settings(deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_varints_go_there_and_back(value):
    data = varint(value)

    assert read_varint(b"x" + data + b"y", 1) == (value, 1 + len(data))


@settings(deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(at, change):
    """Only a root's hash can change and still be read: its block is then missing."""
    data = bytearray(WHOLE)
    data[at] ^= change

    with pytest.raises(Refused):
        require_root(*read_car(bytes(data)))
