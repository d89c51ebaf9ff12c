"""An account that the log was found to hold too little of is on disk as one that catches up, before anything else."""

from __future__ import annotations

from pathlib import Path

from ingest.relay.hosts_store import HostsStore
from ingest.relay.left_below import catch_up_with
from tests.relay.world.host import Member
from tests.relay.world.people import People
from tests.relay.world.relay import World


async def test_what_derive_refused_is_fetched_also_by_the_relay_after_a_crash(tmp_path: Path) -> None:
    """Derive's place is on disk by then: no start looks below it again, and the account may say nothing for long."""
    did = Member(1).did
    async with World(tmp_path, People(), save_seconds=3_600.0) as world:
        world.relay.store.see(did, "pds.example.com")

        catch_up_with(world.relay, did)

        other = HostsStore(tmp_path / "relay.sqlite")
        found = other.repairs()
        other.close()
    assert found == [(did, "https://pds.example.com", 0)]
