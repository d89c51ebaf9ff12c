"""The official lexicons, read on demand from the JSON files that PyPI `lexrpc` ships (CC0), as data.

The package is located, never imported. Does not own what the documents mean.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from schemas.errors import InvariantError
from schemas.lexicon.document import Document, parse_lexicon

NAMESPACES: Final = ("com.atproto", "app.bsky", "chat.bsky", "tools.ozone")


class Shipped(Mapping[str, Document]):
    """Documents by NSID. Making one lists folders only; a document is read when it is first asked for."""

    def __init__(self) -> None:
        root = _folder()
        self._paths: dict[str, str] = {}
        for namespace in NAMESPACES:
            for folder, _, names in os.walk(root / namespace.replace(".", "/")):
                prefix = os.path.relpath(folder, root).replace(os.sep, ".")
                self._paths.update(
                    (f"{prefix}.{name.removesuffix('.json')}", os.path.join(folder, name))  # noqa: PTH118 - thousands
                    for name in names
                    if name.endswith(".json")
                )
        self._read: dict[str, Document] = {}

    def __getitem__(self, nsid: str) -> Document:
        document = self._read.get(nsid)
        if document is None:
            document = parse_lexicon(Path(self._paths[nsid]).read_bytes())
            if document.id != nsid:
                raise InvariantError(f"expected lexicon {nsid} in {self._paths[nsid]}, found {document.id}")
            self._read[nsid] = document
        return document

    def __contains__(self, nsid: object) -> bool:
        return nsid in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def _folder() -> Path:
    spec = find_spec("lexrpc")
    for location in (spec and spec.submodule_search_locations) or ():
        folder = Path(location) / "lexicons"
        if folder.is_dir():
            return folder
    raise InvariantError("expected the folder lexicons/ within the package lexrpc, found none: run `make setup`")
