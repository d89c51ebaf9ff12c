"""Whether an archive's frames hold, offline: signatures, hashes of blocks, inversion, and one chain an account.

Every check is `ingest.repo.verify`'s, with the key that the account's document named when the frame was received.
What fails is counted by reason and shown. Does not own reading (`reader.py`).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from typing import Any, NamedTuple

from headrace.load.archive.blocks import KINDS, Item, Kind
from headrace.load.archive.reader import ALL, Archive, Wanted
from ingest.identity import did_doc
from ingest.identity.reasons import IdentityRefused
from ingest.repo.car import read_car, require_root
from ingest.repo.commit import decode_commit
from ingest.repo.frame import decode_frame
from ingest.repo.keys import PublicKey
from ingest.repo.messages import CommitMessage, InfoMessage, SyncMessage, UnknownMessage
from ingest.repo.reasons import RepoReason
from ingest.repo.verify import Previous, verify_commit, verify_sync
from schemas.errors import Refused
from schemas.syntax import Did

KEYS_KEPT = 200_000  # accounts, some 500 B each
CHAINS_KEPT = 1_000_000  # accounts, some 300 B each
FAILURES_SHOWN = 100


class ChainReason(StrEnum):
    """What only a sequence of frames shows."""

    GAP = "chain_gap"
    SEQ = "seq_not_rising"
    NO_DOCUMENT = "no_document"
    NO_KEY = "no_signing_key"
    UNSIGNED = "unsigned"
    UNREADABLE = "unreadable"


class Failure(NamedTuple):
    seq: int
    did: str
    reason: str
    detail: str


class Report:
    """`frames` by kind; `failures` by reason, the first of them in `shown`."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.shown: list[Failure] = []
        self.forgotten = 0
        """Accounts whose chain was let go for memory: their next commit was taken as their first."""

    def fail(self, seq: int, did: str, reason: StrEnum, detail: str) -> None:
        self.failures[reason.value] += 1
        if len(self.shown) < FAILURES_SHOWN:
            self.shown.append(Failure(seq, did, reason.value, detail))

    def as_dict(self) -> dict[str, Any]:
        return {
            "frames": dict(sorted(self.frames.items())),
            "failures": dict(sorted(self.failures.items())),
            "forgotten_chains": self.forgotten,
            "first_failures": [failure._asdict() for failure in self.shown],
        }


class Verifier:
    """One pass over an archive. Gaps are judged only when everything is verified, not a part."""

    def __init__(
        self, archive: Archive, wanted: Wanted = ALL, *, progress: Callable[[int], None] | None = None
    ) -> None:
        self._archive = archive
        self._wanted = wanted
        self._progress = progress
        self._keys: OrderedDict[str, list[tuple[int, PublicKey | None]]] = OrderedDict()
        self._chains: OrderedDict[str, Previous] = OrderedDict()
        self._last_seq = 0
        self.report = Report()

    def run(self) -> Report:
        """Everything, once."""
        for number, item in enumerate(self._archive.items(self._wanted), 1):
            self.report.frames[KINDS.get(item.kind, "other")] += 1
            if item.kind == Kind.LINE:
                self.report.fail(item.seq, "", ChainReason.UNSIGNED, "a line of Jetstream has no signature")
            elif item.kind < Kind.LINE:
                self._frame(item)
            else:
                self.report.fail(item.seq, "", ChainReason.UNREADABLE, f"an item of kind {item.kind}")
            if self._progress is not None and number % 10_000 == 0:
                self._progress(number)
        return self.report

    def _frame(self, item: Item) -> None:
        fail = self.report.fail
        try:
            message = decode_frame(item.data)
        except Refused as refused:
            reason = refused.reason if isinstance(refused.reason, StrEnum) else ChainReason.UNREADABLE
            fail(item.seq, "", reason, refused.detail)
            return
        if isinstance(message, UnknownMessage | InfoMessage) or item.seq == 0:
            return
        if item.seq <= self._last_seq:
            fail(item.seq, "", ChainReason.SEQ, f"seq {item.seq} follows {self._last_seq}")
        self._last_seq = item.seq
        if isinstance(message, CommitMessage | SyncMessage):
            try:
                self._signed(message, item.time)
            except Refused as refused:
                fail(item.seq, message.did, refused.reason, refused.detail)

    def _signed(self, message: CommitMessage | SyncMessage, time: int) -> None:
        did = message.did
        keys = self._keys_of(did, time)
        previous = self._chains.get(did)
        for last, key in enumerate(reversed(keys), 1):
            try:
                self._check(message, key, previous, time)
            except Refused as refused:
                # The document may have been fetched some time after the key was changed.
                if refused.reason is RepoReason.SIGNATURE and last < len(keys):
                    continue
                raise
            return

    def _check(
        self, message: CommitMessage | SyncMessage, key: PublicKey, previous: Previous | None, time: int
    ) -> None:
        did = message.did
        if isinstance(message, SyncMessage):
            entry = verify_sync(message, key, previous, time)
            self._stand(did, Previous(entry.rev, entry.data))
            return
        try:
            verified = verify_commit(message, key, previous, time)
        except Refused as refused:
            if refused.reason not in (RepoReason.SIGNATURE, RepoReason.REV_STALE):
                with suppress(Refused):
                    self._stand_where_it_says(message)
            raise
        self._stand(did, Previous(verified.entry.rev, verified.entry.data))
        if not verified.continuous and self._wanted == ALL:
            self.report.fail(message.seq, did, ChainReason.GAP, f"rev {message.rev} does not follow {previous}")

    def _stand(self, did: Did, at: Previous) -> None:
        self._chains[did] = at
        self._chains.move_to_end(did)
        if len(self._chains) > CHAINS_KEPT:
            self._chains.popitem(last=False)
            self.report.forgotten += 1

    def _stand_where_it_says(self, message: CommitMessage) -> None:
        """One bad commit is one failure: the next is held to it, not to the one before."""
        roots, blocks = read_car(message.blocks)
        self._stand(message.did, Previous(message.rev, decode_commit(blocks[require_root(roots, blocks).raw]).data))

    def _keys_of(self, did: Did, time: int) -> list[PublicKey]:
        """Keys in the order to be tried last to first: the document of that time, after those of other times."""
        known = self._keys.get(did)
        if known is None:
            known = self._keys[did] = list(self._documents(did))
            if len(self._keys) > KEYS_KEPT:
                self._keys.popitem(last=False)
        if not known:
            raise Refused(ChainReason.NO_DOCUMENT, f"the archive has no document of {did}: record with a directory")
        then = sum(at <= time for at, _ in known) or 1
        keys = [key for _, key in (*known[then:], *known[:then]) if key is not None]
        if not keys:
            raise Refused(ChainReason.NO_KEY, f"{did} has no #atproto key")
        return keys

    def _documents(self, did: Did) -> Iterator[tuple[int, PublicKey | None]]:
        for at, document in self._archive.documents(did):
            try:
                yield at, did_doc.parse(did, document).signing_key
            except IdentityRefused:
                continue
