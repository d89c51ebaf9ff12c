"""Other people's hosts into the log: what is true enters in order, whoever says it; the rest is counted."""

from __future__ import annotations

from pathlib import Path

from tests.relay.world.host import Host
from tests.relay.world.people import People
from tests.relay.world.relay import World


async def test_what_a_host_says_is_in_the_log_in_order(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        members = [host.add(number) for number in range(1, 4)]
        await host.say(*(member.write() for _ in range(5) for member in members))
        async with World(tmp_path, people, crawl=(host.name,)) as world:
            await world.taken(host)
            await host.say(*(member.write(3) for member in members))
            await world.taken(host)

            for member in members:
                head = world.log.head(member.did)
                assert head is not None
                assert (head.rev, head.data, head.partial) == (member.rev, member.data, False)
                assert world.paths(member.did) == sorted(member.records)
            assert not world.dropped
            assert len(await world.entries()) == 18
