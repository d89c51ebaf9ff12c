"""`headrace ingest`: into the network that serves the directory, else into the directory itself.

Does not own what becomes of a file (`headrace/commands/uploads.py`).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from headrace import client
from headrace.commands.uploads import Options, upload
from headrace.lock import LockedError
from headrace.settings import Settings
from headrace.wiring.embedded import Network
from schemas.errors import Refused


async def feed(
    settings: Settings, kind: str, file: Path, did_docs: Path | None, *, trust_handles: bool, trust_signature: bool
) -> dict[str, Any]:
    """The summary. Raises client.RefusedError when the input is refused whole, OSError when it cannot be read."""
    # What cannot be read is said before anything starts.
    documents = None if did_docs is None else await asyncio.to_thread(_read_text, did_docs)
    options = Options(documents, trust_handles, trust_signature)
    await asyncio.to_thread(_check_file, file)
    try:
        network = await Network.open(settings.model_copy(update={"port": 0, "plc_port": 0, "ops_port": 0}))
    except LockedError:
        return await client.upload(settings.data, kind, upload(options, file), str(file))
    try:
        return await network.ingest(kind, upload(options, file))
    except Refused as refused:
        raise client.RefusedError(f"{file}: {refused}") from None
    finally:
        await network.close()


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise client.RefusedError(f"{path}: expected a JSON object of DID to document, found no UTF-8 text") from None


def _check_file(path: Path) -> None:
    with path.open("rb") as opened:
        if not opened.read(1):
            raise client.RefusedError(f"{path}: the file is empty")
