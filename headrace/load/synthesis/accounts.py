"""Accounts out of a seed: keys, did:plc identities with their signed operations, documents, handles.

The keys are known to everybody who knows the seed: such a network is for laboratories. Does not own what accounts do.
"""

from __future__ import annotations

from typing import Any

from headrace.load.synthesis.streams import secret
from ingest.identity import plc, plc_op
from ingest.repo.keys import PrivateKey
from schemas.syntax import Did

PDS = "https://pds.invalid"
"""What documents name when nobody says better; a player puts its own address there."""


class Accounts:
    """Makes the accounts of one seed; `number` is 0, 1, ..."""

    def __init__(self, seed: int, pds: str = PDS) -> None:
        self._seed = seed
        self._pds = pds
        self._rotation = PrivateKey.from_bytes("k256", secret(seed, "rotation"))

    def key(self, number: int) -> PrivateKey:
        """Its signing key."""
        return PrivateKey.from_bytes("k256", secret(self._seed, "account", number))

    def genesis(self, number: int, key: PrivateKey | None = None) -> plc_op.Operation:
        """The operation that founds it."""
        key = key or self.key(number)
        rotation = self._rotation
        unsigned = plc_op.account(key.public.did_key, handle(number), self._pds, [rotation.public.did_key])
        return plc_op.parse(plc_op.sign(unsigned, rotation))

    def did(self, number: int) -> Did:
        return self.genesis(number).did

    def operation(self, number: int, renamed: int = 0) -> plc_op.Operation:
        """Its newest operation after so many changes of its handle; each follows the one before."""
        last = self.genesis(number)
        for change in range(1, renamed + 1):
            unsigned = plc_op.updated(last, also_known_as=[f"at://{handle(number, change)}"])
            last = plc_op.parse(plc_op.sign(unsigned, self._rotation))
        return last


def document(did: Did, operation: plc_op.Operation) -> dict[str, Any]:
    """The document that an operation leaves."""
    data = operation.data(did)
    assert data is not None
    return plc.format_document(data)


def handle(number: int, renamed: int = 0) -> str:
    """A handle that nobody can have outside of laboratories."""
    return f"a{number}.test" if renamed == 0 else f"a{number}-{renamed}.test"
