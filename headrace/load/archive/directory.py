"""DID documents as JSON for a recorder: from a did:plc directory that the operator names, and from hosts of did:web.

Does not own what a document says (`ingest/identity/did_doc.py`) nor which are asked for (`record.py`).
"""

from __future__ import annotations

from typing import Any

import orjson

from ingest.identity import did_web
from ingest.identity.fetch import Fetcher
from ingest.identity.plc_client import PlcHttp
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.ssrf import AddressGuard
from schemas.syntax import Did


class Directory:
    """`await document(did)`; hosts of did:web pass the address guard."""

    def __init__(self, plc_url: str) -> None:
        self._plc = PlcHttp(plc_url)
        self._fetcher = Fetcher(AddressGuard())

    async def document(self, did: Did) -> Any:
        """Raises IdentityRefused."""
        if did.method == "plc":
            return await self._plc.document(did)
        answer = await self._fetcher.get(did_web.document_url(did), did_web.MAX_DOCUMENT)
        try:
            if answer.status == 200:
                return orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise IdentityRefused(IdentityReason.DOCUMENT, f"the document of {did} is not JSON") from error
        raise IdentityRefused(IdentityReason.STATUS, f"HTTP {answer.status} for the document of {did}")

    async def close(self) -> None:
        await self._plc.close()
        await self._fetcher.close()
