"""Who reads a relay's firehose can follow every account's chain, also over what the relay fetched itself."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from ingest.repo.car import read_car
from ingest.repo.commit import decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.messages import CommitMessage, SyncMessage
from schemas.cid import Cid
from tests.relay.listener import listening
from tests.relay.world.host import Host
from tests.relay.world.people import People
from tests.relay.world.relay import World


class Chain:
    """What a subscriber knows of accounts; `broken` are revs whose commit did not follow."""

    def __init__(self) -> None:
        self.data: dict[str, Cid] = {}
        self.revs: dict[str, str] = {}
        self.kinds: list[str] = []
        self.broken: list[str] = []

    def take(self, frame: bytes) -> int:
        message = decode_frame(frame)
        assert isinstance(message, CommitMessage | SyncMessage)
        roots, blocks = read_car(message.blocks)
        commit = decode_commit(blocks[roots[0].raw])
        assert (commit.did, commit.rev) == (message.did, message.rev)
        assert message.rev > self.revs.get(message.did, "")
        if isinstance(message, CommitMessage):
            self.kinds.append("commit")
            if message.did in self.data and message.prev_data != self.data[message.did]:
                self.broken.append(message.rev)
        else:
            self.kinds.append("sync")
            assert len(blocks) == 1
        self.data[message.did], self.revs[message.did] = commit.data, message.rev
        return message.seq


async def read(socket: aiohttp.ClientWebSocketResponse, chain: Chain, last: int) -> None:
    while chain.take(await socket.receive_bytes(timeout=60)) < last:
        pass


async def test_a_repo_that_the_relay_fetched_shows_as_a_sync_and_no_chain_breaks(tmp_path: Path) -> None:
    people = People()
    async with Host(people) as host:
        member, other = host.add(1), host.add(2)
        await host.say(member.write(), other.write())
        async with World(tmp_path, people, crawl=(host.name,)) as world, listening(world, tmp_path) as relay:
            await world.taken(host)
            live, late = Chain(), Chain()
            async with relay.frames() as socket:
                member.write(1_200)  # nobody is told: more than a chunk of a diff
                await host.say(member.write())
                await world.taken(host)
                await host.say(member.write(), other.write())
                await world.taken(host)
                await read(socket, live, world.log.firehose_bounds()[1])
            async with relay.frames() as socket:
                await read(socket, late, world.log.firehose_bounds()[1])
            lines: list[str] = []
            async with relay.lines("?cursor=0") as socket:
                while len(lines) < 4:
                    lines.append(await socket.receive_str(timeout=60))

            assert live.kinds == ["commit", "commit", "sync", "commit", "commit"]
            assert (live.broken, live.kinds, live.data) == ([], late.kinds, late.data)
            assert (live.revs[member.did], live.data[member.did]) == (member.rev, member.data)
            assert all('"kind":"commit"' in line for line in lines)
