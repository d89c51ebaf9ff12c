"""Why bytes of a repo are refused: one bounded enum for the whole of ingest/repo, so that it can label a metric.

Does not own the reasons of keys (`ingest.repo.keys`) nor of the verdict on a verified entry (`ingest.verdict`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from schemas.cid import Cid
from schemas.errors import Refused

Load = Callable[[bytes], bytes]
"""From a binary CID to the block's bytes; KeyError or MissingBlock when there is none. Hashes are checked by it."""


class RepoReason(StrEnum):
    # a CAR file
    CAR_TRUNCATED = "car_truncated"
    CAR_HEADER = "car_header"
    CAR_VARINT = "car_varint"
    CAR_CID = "car_cid"
    CAR_HASH = "car_hash"
    CAR_ROOT = "car_root"
    CAR_SIZE = "car_size"
    # a node of a tree
    NODE_ENCODING = "node_encoding"
    NODE_KEY = "node_key"
    NODE_ORDER = "node_order"
    NODE_PREFIX = "node_prefix"
    NODE_HEIGHT = "node_height"
    NODE_EMPTY = "node_empty"
    NODE_ENTRIES = "node_entries"
    MISSING_BLOCK = "missing_block"
    # a signed commit
    COMMIT_ENCODING = "commit_encoding"
    COMMIT_VERSION = "commit_version"
    SIGNATURE = "signature"
    # a firehose frame
    FRAME_SIZE = "frame_size"
    FRAME_ENCODING = "frame_encoding"
    FRAME_FIELDS = "frame_fields"
    FRAME_SEQ = "frame_seq"
    # what a message says of its repo
    TOO_BIG = "too_big"
    REBASE = "rebase"
    BLOCKS_SIZE = "blocks_size"
    OPS_COUNT = "ops_count"
    OP_FIELDS = "op_fields"
    OP_PATH = "op_path"
    OP_MISMATCH = "op_mismatch"
    RECORD_MISSING = "record_missing"
    FIELD_MISMATCH = "field_mismatch"
    REV_SYNTAX = "rev_syntax"
    REV_STALE = "rev_stale"
    REV_FUTURE = "rev_future"
    PREV_DATA_MISSING = "prev_data_missing"
    INVERSION = "inversion"
    DISCONTINUOUS = "discontinuous"
    VERIFIER_DIED = "verifier_died"


class MissingBlock(Refused):
    """A block that a walk needs is not there; `cid` is its binary CID."""

    def __init__(self, cid: bytes, why: str = "needed to walk the tree") -> None:
        super().__init__(RepoReason.MISSING_BLOCK, f"block {Cid(cid)} is missing ({why})")
        self.cid = cid
