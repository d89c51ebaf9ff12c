"""DID documents that an operator hands over in a file, as a resolver. What is not in the file does not resolve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ingest.identity import did_doc
from ingest.identity.did_doc import DidDocument
from ingest.identity.reasons import IdentityReason, IdentityRefused
from schemas.syntax import Did


class DidDocs:
    """`ingest.identity.resolver.DidResolver` over a JSON object: DID to document."""

    def __init__(self, documents: Mapping[str, Any]) -> None:
        self._documents = documents

    @classmethod
    def parse(cls, text: bytes) -> DidDocs:
        """Raises IdentityRefused(DOCUMENT)."""
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise IdentityRefused(IdentityReason.DOCUMENT, f"the DID documents are not JSON: {error}") from None
        if not isinstance(found, dict):
            raise IdentityRefused(IdentityReason.DOCUMENT, "expected a JSON object of DID to document")
        return cls(found)

    async def did_document(self, did: Did, *, refresh: bool = False) -> DidDocument:  # noqa: ARG002 - a file is as it is
        if did not in self._documents:
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"{did} is not among the DID documents given")
        return did_doc.parse(did, self._documents[did])
