"""Row `verify_frames`: relay frames through the whole checklist, in one process, over and over; the cost of each stage.

Each frame is decoded, every block hashed, the signature verified and the operations inverted; only the keys are at hand
(no directory is asked). The frames are the recorded ones of the vectors, or commits of 1 or 10 operations on repos of
2,000 records, made here. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import libipld
import orjson

from ingest.identity import did_doc
from ingest.repo import core
from ingest.repo.car import read_car
from ingest.repo.commit import decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.keys import PrivateKey, PublicKey
from ingest.repo.messages import CommitMessage
from ingest.repo.verify import _check_inversion, _ops_with_records, verify_commit
from schemas import cbor
from schemas.syntax import Did
from tests.conftest import vectors_root
from tests.unit.repo.world import Account, path

SECONDS = 3.0
LATER = 1 << 51  # unix microseconds: no recorded rev is in the future
TEXT = "Sixty to a hundred events a second, says the background, with peaks of four hundred. " * 2


@dataclass
class Work:
    """Frames with one commit each, and the keys of their accounts."""

    frames: list[bytes]
    keys: dict[str, PublicKey]

    def once(self) -> None:
        for frame in self.frames:
            message = decode_frame(frame)
            assert isinstance(message, CommitMessage)
            assert verify_commit(message, self.keys[message.did], None, LATER).inverted


def recorded() -> Work:
    """The commits among 80 frames of the network, 5.5 KB and 1.0 operations each."""
    folder = vectors_root() / "bluesky-social/jetstream/internal/corpus/testdata"
    data = (folder / "frames.bin").read_bytes()
    documents = orjson.loads((folder / "did_docs.json").read_bytes())
    found = {did: did_doc.parse(Did(did), document).signing_key for did, document in documents.items()}
    frames, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    commits = [frame for frame in frames if isinstance(decode_frame(frame), CommitMessage)]
    return Work(commits, {did: key for did, key in found.items() if key is not None})


def made(operations: int) -> Work:
    """Commits of so many new posts; eight accounts with 2,000 records each."""
    frames, keys = [], {}
    for n in range(8):
        did = Did(f"did:plc:{'abcdefgh'[n] * 24}")
        account = Account(PrivateKey.from_bytes("k256", bytes((n + 1,)) * 32), did)
        account.commit({path(i): record(n, i) for i in range(2_000)})
        for turn in range(10):
            begin = 2_000 + turn * operations
            frames.append(account.commit({path(i): record(n, i) for i in range(begin, begin + operations)}).frame())
        keys[did] = account.key.public
    return Work(frames, keys)


def record(account: int, i: int) -> bytes:
    text = f"{account} {i} {TEXT}"
    return cbor.encode({"$type": "app.bsky.feed.post", "text": text, "createdAt": "2026-01-01T00:00:00Z"})


WORK: dict[str, Callable[[], Work]] = {"recorded": recorded, "1": lambda: made(1), "10": lambda: made(10)}


class Speed(NamedTuple):
    """Frames a second, and a second of CPU: on a machine that does other things only the latter means something."""

    wall: float
    cpu: float


def rate(once: Callable[[], object], count: int, seconds: float = SECONDS) -> Speed:
    """Going through `count` frames again and again."""
    done, begin, used = 0, time.perf_counter(), time.process_time()
    while (now := time.perf_counter()) - begin < seconds:
        once()
        done += count
    return Speed(round(done / (now - begin), 1), round(done / (time.process_time() - used), 1))


def stages(work: Work) -> dict[str, float]:
    """Microseconds of CPU a frame of each stage alone, the quickest of many rounds; `sum` stands beside `whole`."""
    messages = [message for message in map(decode_frame, work.frames) if isinstance(message, CommitMessage)]
    blocks = [read_car(message.blocks)[1] for message in messages]
    signed = [decode_commit(each[message.commit.raw]) for message, each in zip(messages, blocks, strict=True)]
    keys = [work.keys[message.did] for message in messages]
    before = [message.prev_data.raw for message in messages if message.prev_data is not None]
    assert len(before) == len(messages)
    parts: dict[str, Callable[[], object]] = {
        "decode": lambda: [decode_frame(frame) for frame in work.frames],
        "split_and_hash": lambda: [read_car(message.blocks) for message in messages],
        "fields": lambda: [decode_commit(each[m.commit.raw]) for m, each in zip(messages, blocks, strict=True)],
        "signature": lambda: [each.is_signed_by(key) for each, key in zip(signed, keys, strict=True)],
        "records": lambda: [_ops_with_records(m.ops, each) for m, each in zip(messages, blocks, strict=True)],
        "inversion": lambda: [
            _check_inversion(commit.data, root, message.ops, each)
            for commit, root, message, each in zip(signed, before, messages, blocks, strict=True)
        ],
    }
    found = {name: quickest(part, len(messages)) for name, part in parts.items()}
    return found | {"sum": round(sum(found.values()), 2), "whole": quickest(work.once, len(messages))}


def quickest(part: Callable[[], object], count: int) -> float:
    best = float("inf")
    for _ in range(25):
        begin = time.process_time()
        part()
        best = min(best, time.process_time() - begin)
    return round(best / count * 1e6, 2)


def limit(work: Work) -> Speed:
    """Frames a second of what no verifier in Python can do without: libipld, SHA-256 of each block, one signature."""
    messages = [message for message in map(decode_frame, work.frames) if isinstance(message, CommitMessage)]
    commits = [decode_commit(read_car(message.blocks)[1][message.commit.raw]) for message in messages]
    checks = [work.keys[m.did].verify for m in messages]
    signed = [(commit.message(), commit.sig) for commit in commits]

    def once() -> None:
        for frame, message, check, (data, signature) in zip(work.frames, messages, checks, signed, strict=True):
            libipld.decode_dag_cbor_multi(frame)
            libipld.decode_car(message.blocks)
            read_car(message.blocks)
            assert check(data, signature)

    return rate(once, len(messages))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORK, default="recorded")
    parser.add_argument("--twin", action="store_true", help="without the compiled core")
    options = parser.parse_args()
    core.switch(on=not options.twin)
    work = WORK[options.work]()
    row = {"name": "verify_frames", "value": rate(work.once, len(work.frames)).wall, "unit": "frames/s"}
    print(orjson.dumps(row).decode())


if __name__ == "__main__":
    main()
