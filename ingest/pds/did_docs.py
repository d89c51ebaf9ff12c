"""DID documents as JSON, for answers that show them; bounded, a few minutes old at most.

Does not own what a document says (ingest/identity/did_doc.py): that is read, unparsed, for show only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from ingest.identity.plc_client import PlcClient
from ingest.identity.reasons import IdentityRefused
from schemas.syntax import Did

_KEPT = 10_000
_FRESH = 300.0  # seconds


class DidDocs:
    """did:plc alone; of other methods nothing is shown. `now` gives seconds."""

    def __init__(self, plc: PlcClient, now: Callable[[], float]) -> None:
        self._plc = plc
        self._now = now
        self._known: OrderedDict[Did, tuple[float, dict[str, Any]]] = OrderedDict()

    async def get(self, did: Did) -> dict[str, Any] | None:
        """None when it cannot be had."""
        known = self._known.get(did)
        now = self._now()
        if known is not None and known[0] + _FRESH > now:
            return known[1]
        if did.method != "plc":
            return None
        try:
            document = await self._plc.document(did)
        except IdentityRefused:
            return None
        self._known[did] = (now, document)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return document

    def forget(self, did: Did) -> None:
        self._known.pop(did, None)
