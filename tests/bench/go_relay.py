"""The Go relay's verifier on the same frames: built once into .cache/tools, where Go is at hand and modules can be had.

Its program is indigo/main.go. Does not own the frames (verify_frames.py).
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

import orjson

from tests.bench.verify_frames import SECONDS, Speed, Work
from tests.support.tools import CACHE, ToolUnavailableError, cached, run

INDIGO = "github.com/bluesky-social/indigo@v0.0.0-20260605210604-af2fec94f34c"
SOURCE = Path(__file__).parent / "indigo" / "main.go"


def verifier() -> Path:
    """The program. Raises ToolUnavailableError."""
    folder = CACHE / f"indigo-verify-{sha256(SOURCE.read_bytes()).hexdigest()[:12]}"

    def install() -> None:
        shutil.copy(SOURCE, folder / "main.go")
        (folder / "go.mod").write_text("module verify\n\ngo 1.26\n")
        run("go", "get", INDIGO, folder=folder)
        run("go", "mod", "tidy", folder=folder)
        run("go", "build", "-o", "verify", ".", folder=folder)

    return cached(folder, folder / "verify", install)


def speed(work: Work) -> Speed | str:
    """What it reaches on one thread, or a line that says why it is not there."""
    try:
        program = verifier()
    except ToolUnavailableError as error:
        return str(error)
    with tempfile.TemporaryDirectory() as folder:
        frames, keys = Path(folder) / "frames.bin", Path(folder) / "keys.json"
        frames.write_bytes(b"".join(struct.pack("<I", len(frame)) + frame for frame in work.frames))
        keys.write_bytes(orjson.dumps({str(did): key.multikey for did, key in work.keys.items()}))
        command = [program, frames, keys, str(SECONDS)]
        done = subprocess.run(command, check=True, capture_output=True)
    return Speed(**orjson.loads(done.stdout))
