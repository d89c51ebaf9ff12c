"""Whoever lives at a PDS of ours is resolved for nobody who reads others."""

from __future__ import annotations

import pytest

from ingest.relay.own_accounts import OthersOnly
from ingest.relay.reasons import RelayReason
from ingest.repo.keys import PrivateKey
from schemas.errors import Refused
from tests.relay.world.people import People, did_of

KEY = PrivateKey.from_bytes("k256", bytes(31) + b"\x01")


async def test_who_lives_with_us_is_refused_however_their_address_is_written() -> None:
    people, ours = People(), set[str]()
    homes = (
        "https://PDS.example.com",
        "http://localhost:2583",
        "https://pds.example.org",
        "https://pds.example.com:444",
    )
    for number, home in enumerate(homes):
        people.put(did_of(number), KEY, home)
    people.documents[did_of(9)] = people.documents[did_of(0)] | {"id": did_of(9), "service": []}
    resolver = people.resolver()
    others = OthersOnly(resolver, lambda: ours)

    async def refused(number: int) -> bool:
        try:
            document = await others.did_document(did_of(number))
        except Refused as found:
            return found.reason is RelayReason.HOSTED_HERE
        return document.did != did_of(number)

    before = [await refused(number) for number in (0, 1, 2, 3, 9)]
    ours |= {"pds.example.com", "localhost:2583"}
    after = [await refused(number) for number in (0, 1, 2, 3, 9)]
    with pytest.raises(Refused):
        await others.did_document(did_of(0), refresh=True)
    await resolver.close()

    assert before == [False] * 5
    assert after == [True, True, False, False, False]
