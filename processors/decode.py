"""From bytes to a record that projections may trust, or to the reason why there is none.

Total over any bytes: what does not hold projects to no rows and is counted by reason (invariant 3). Does not own the
lexicons (`schemas.lexicon`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet
from typing import Any

from schemas.cbor import CborRefused, decode
from schemas.entries import RecordEntry
from schemas.errors import InvariantError, Refused
from schemas.lexicon import Catalogue
from schemas.limits import RECORD_BLOCK_MAX
from views.record import Record, make_record
from views.table import Row

NO_MAP = "record_no_map"


class Decoder:
    """HOT. `projected` names the collections that make rows; of others only whether they hold is found out."""

    def __init__(self, catalogue: Catalogue, projected: AbstractSet[str]) -> None:
        self._catalogue = catalogue
        self._projected = projected
        self.invalid: Counter[str] = Counter()
        """Records that made no rows, by reason."""
        self.projected_records = 0
        """Records that made rows."""

    def after(self, entry: RecordEntry) -> tuple[Record | None, str]:
        """(the record if it makes rows, why it is invalid: empty when it is not)."""
        collection, data = entry.collection, entry.value
        if data is None or entry.cid is None:
            return None, ""
        projected = collection in self._projected
        if not projected and self._catalogue.record_key_rule(collection) is None:
            return None, ""
        try:
            self._catalogue.check_key(collection, entry.rkey)
            value: Any = decode(data, RECORD_BLOCK_MAX)
            if type(value) is not dict:
                self.invalid[NO_MAP] += 1
                return None, NO_MAP
            self._catalogue.check_record(collection, value)
        except Refused as refused:
            self.invalid[str(refused.reason)] += 1
            return None, str(refused.reason)
        if not projected:
            return None, ""
        self.projected_records += 1
        cid = str(entry.cid)
        return make_record(
            entry.did, collection, entry.rkey, cid=cid, value=value, data=data, first_time=entry.first_time
        ), ""

    def before(self, row: Row) -> Record | None:
        """The record that a row of `records` stood for; it was judged when the row was written."""
        did, collection, rkey, cid, data, _, first_time, _, invalid = row
        if invalid or collection not in self._projected:
            return None
        try:
            value: Any = decode(data)
        except CborRefused as refused:
            raise InvariantError(f"at://{did}/{collection}/{rkey} was valid when written and is not now") from refused
        return make_record(did, collection, rkey, cid=cid, value=value, data=data, first_time=first_time)
