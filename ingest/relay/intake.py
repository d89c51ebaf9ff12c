"""One message after the other into the log: decoded once, in order within an account, side by side across accounts.

What does not hold is counted by source and reason and dropped; the stream goes on. What an account was at is always
asked of the log after its last append, so no verdict rests on a stale head: another writer's commit, an identity that
cannot be told now or a log that is away lead to another try; when it still cannot be told whose a message is, it is
handed to `Waiting`. Does not own what a message leads to
(`ingest.relay.judge`), connections, hosts, nor repos fetched whole (`ingest.relay.resync`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from ingest.identity.reasons import IdentityRefused
from ingest.identity.resolver import DidResolver
from ingest.log import LogAwayError, Reason, Rejected
from ingest.relay.authority import Authority
from ingest.relay.intake_ports import Accounts, HandleOf, IntakeLog, Waiting
from ingest.relay.judge import Judge
from ingest.relay.lines import Lines
from ingest.relay.quotas import Windows
from ingest.relay.reasons import RelayReason
from ingest.relay.source import Numbered, Source
from ingest.relay.verification import Verification
from ingest.relay.verifier import Verifier
from ingest.relay.weight import weight
from ingest.repo.frame import decode_frame
from ingest.repo.messages import ErrorMessage, InfoMessage, UnknownMessage
from schemas.errors import Refused

_TRIES = 12
_TRIES_IDENTITY = 3  # then the message waits elsewhere, and its host's stream goes on
_PAUSE, _PAUSE_MAX = 0.25, 30.0  # seconds, doubled each time


class Intake:
    """`offer` frames; what they lead to is counted in their source. An error of ours ends it: see `Lines.failed`.

    `introduce`: an account that is met for the first time has its handle resolved, so that views can show it.
    `whole`: the repo of an account whose history is not known is fetched.
    """

    def __init__(
        self,
        lines: Lines,
        log: IntakeLog,
        resolver: DidResolver,
        verifier: Verifier,
        *,
        hosted: Callable[[str], bool],
        handle_of: HandleOf,
        accounts: Accounts | None = None,
        quota: Windows | None = None,
        lenient: bool = False,
        introduce: bool = True,
        whole: bool = False,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.lines = lines
        self.verification = Verification(verifier, resolver, now, lenient=lenient)
        self.authority = Authority(resolver, accounts, quota)
        self.judge = Judge(
            log,
            self.authority,
            self.verification,
            hosted=hosted,
            handle_of=handle_of,
            introduce=introduce,
            whole=whole,
        )
        self._pause = pause
        self.strangers: Waiting | None = None

    async def offer(self, source: Source, frame: bytes) -> InfoMessage | ErrorMessage | UnknownMessage | None:
        """HOT: put a frame's message in its account's line; waits for room. What is not of an account is given back.

        Raises Refused only for what ends a stream: bytes that are no frame (FRAME_*), numbers that have begun anew
        (SEQ_RESET); and what has ended the lines.
        """
        self.lines.check()
        message = decode_frame(frame)
        if isinstance(message, InfoMessage | ErrorMessage | UnknownMessage):
            return message
        progress = source.progress
        if source.kind != "file" and message.seq <= progress.last:
            at = f"seq {message.seq} is not above {progress.last}"
            if source.numbering.has_begun_anew(news=self.judge.is_news(source, message)):
                raise Refused(RelayReason.SEQ_RESET, f"{source.name}: {at}, and what it says is new")
            source.refused(Refused(RelayReason.SEQ_STALE, at), message.did)
            return None
        source.numbering.rises()
        last = progress.last
        progress.begin(message.seq)
        try:
            await self.lines.put(
                source,
                message.did,
                weight(message),
                work=partial(self._take, source, message),
                done=partial(progress.done, message.seq),
            )
        except BaseException:
            # A connection that is cut while there is no room: else the message would be neither taken nor read again.
            progress.take_back(message.seq, last)
            raise
        return None

    async def _take(self, source: Source, message: Numbered) -> None:
        try:
            source.took(await self.take(source, message), message)
        except Refused as refused:
            source.refused(refused, message.did)

    async def take(self, source: Source, message: Numbered) -> str:
        """Into the log, from the account's line; a word for what became of it. Raises Refused, Rejected."""
        pause = _PAUSE
        again = False
        strangers = None if source.kind == "file" else self.strangers
        if strangers is not None and strangers.holds(message.did):
            strangers.hold(source, message)
            return "held"
        for left in reversed(range(_TRIES)):
            try:
                return await self.judge.judge(source, message, again=again)
            except IdentityRefused as refused:
                if not refused.transient or strangers is None:
                    raise
                if _TRIES - left >= _TRIES_IDENTITY:
                    strangers.hold(source, message)
                    return "held"
            except Rejected as rejected:
                # Another writer's commit came between: the head is another one now, and says what this message is.
                if rejected.reason is not Reason.PREV_DATA_MISMATCH or not left:
                    raise
                continue
            except LogAwayError:
                if not left:
                    raise
            await self._pause(pause)
            pause, again = min(_PAUSE_MAX, pause * 2), True
        raise AssertionError("the last try returns or raises")
