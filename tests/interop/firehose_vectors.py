"""The 80 real relay frames and the keys of their accounts (bluesky-social/jetstream, corpus)."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

from ingest.repo.keys import PublicKey

CORPUS = "bluesky-social/jetstream/internal/corpus/testdata"
NOW = 1_800_000_000_000_000  # 2027: none of the vectors' revs lies ahead of it

Vectors = Callable[[str], Path]


def real_frames(vectors: Vectors) -> list[bytes]:
    data = vectors(f"{CORPUS}/frames.bin").read_bytes()
    frames, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def real_keys(vectors: Vectors) -> dict[str, PublicKey]:
    docs = json.loads(vectors(f"{CORPUS}/did_docs.json").read_text())
    return {
        did: PublicKey.from_multikey(
            next(
                method["publicKeyMultibase"]
                for method in doc["verificationMethod"]
                if method["id"].endswith("#atproto")
            )
        )
        for did, doc in docs.items()
    }
