"""Row `verify_frames`: real relay frames through the whole checklist, in one process, over and over.

Each frame is decoded, every block hashed, the signature verified and the operations inverted; only the DID documents
are at hand (no directory is asked). Prints one JSON line.
"""

from __future__ import annotations

import struct
import time

import orjson

from ingest.identity import did_doc
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage
from ingest.repo.verify import verify_commit
from schemas.syntax import Did
from tests.conftest import vectors_root

SECONDS = 3.0
LATER = 1 << 51  # unix microseconds: no recorded rev is in the future


def main() -> None:
    folder = vectors_root() / "bluesky-social/jetstream/internal/corpus/testdata"
    data = (folder / "frames.bin").read_bytes()
    documents = orjson.loads((folder / "did_docs.json").read_bytes())
    keys = {did: did_doc.parse(Did(did), document).signing_key for did, document in documents.items()}
    frames, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frames.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    commits = [frame for frame in frames if isinstance(decode_frame(frame), CommitMessage)]
    count, begin = 0, time.perf_counter()
    while (now := time.perf_counter()) - begin < SECONDS:
        for frame in commits:
            message = decode_frame(frame)
            assert isinstance(message, CommitMessage)
            key = keys[message.did]
            assert key is not None
            assert verify_commit(message, key, None, LATER).entry.did
        count += len(commits)
    rate = round(count / (now - begin), 1)
    print(orjson.dumps({"name": "verify_frames", "value": rate, "unit": "frames/s"}).decode())


if __name__ == "__main__":
    main()
