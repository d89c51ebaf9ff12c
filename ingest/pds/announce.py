"""After a restore: every account says to the network where its repo stands now, by a #sync with a new rev.

What the accounts wrote after the backup is lost here, but relays have seen it: their heads are of revs that this log
does not have. So each repo is signed anew at its restored state, above every rev that the lost process can have made,
and whoever follows it fetches the repo again (https://atproto.com/specs/sync, #sync). Without it the next commit would
name a state as its predecessor that nobody else takes for the last one.

Runs while DIR/restored is there, before anything is served; a crash repeats it. Does not own how a backup is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from ingest.log import Appender
from ingest.pds.account_file import Root
from ingest.pds.accounts import Accounts
from ingest.pds.commit_build import sync_entry
from ingest.pds.heads import Heads
from ingest.pds.secrets import fsync_directory
from ingest.repo.commit import UnsignedCommit
from schemas import crash
from schemas.datetimes import from_micros
from schemas.errors import InvariantError, XrpcError
from schemas.syntax import Did
from schemas.tid import TidClock

MARK: Final = "restored"
_AT_ONCE: Final = 64  # they share the log's commits

_log = structlog.get_logger()


class Announcer:
    """`now` gives unix microseconds."""

    def __init__(
        self,
        directory: Path,
        *,
        log: Appender,
        accounts: Accounts,
        heads: Heads,
        clock: TidClock,
        now: Callable[[], int],
    ) -> None:
        self._mark = directory / MARK
        self._log = log
        self._accounts = accounts
        self._heads = heads
        self._clock = clock
        self._now = now

    async def run(self) -> int:
        """How many accounts were announced; none unless the directory was restored."""
        if not self._mark.exists():
            return 0
        count = 0
        dids = self._accounts.hosted()
        for start in range(0, len(dids), _AT_ONCE):
            count += sum(await asyncio.gather(*map(self._one, dids[start : start + _AT_ONCE])))
            crash.point("pds.mid_announce")
        self._mark.unlink()
        fsync_directory(self._mark.parent)
        _log.info("told the network of every restored repo", accounts=count)
        return count

    async def _one(self, did: Did) -> bool:
        try:
            return await self._announce(did)
        except (InvariantError, XrpcError) as error:  # asked for, the account raises it again; the others go on
            _log.critical("a restored account cannot be announced", did=did, cause=str(error))
            return False

    async def _announce(self, did: Did) -> bool:
        row = self._accounts.get(did)
        if row is None or row.status == "pending":
            return False
        async with self._heads.locked(did) as head:
            root = head.root
            if root is None:
                return False
            signed = UnsignedCommit(did, self._clock.next(root.rev), root.data).sign(row.key)
            announced = Root(signed.rev, signed.data, signed.cid, signed.block, 0)
            self._heads.sent(did)
            appended = await self._log.append(sync_entry(did, announced, from_micros(self._now())))
            announced = Root(signed.rev, signed.data, signed.cid, signed.block, appended.offset)
            head.absorb(tree=head.tree, root=announced, nodes={}, records={}, refs_added=(), refs_removed=())
            self._heads.settled(did, appended.shard, appended.offset)
        return True
