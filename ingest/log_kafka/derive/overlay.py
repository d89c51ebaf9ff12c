"""What a batch of derive changes, over what its shard's state file holds: derive's `State`.

Filled in two ways that must agree: by the steps of entries as they are derived, and by the messages of `records` when
a state is rebuilt from them. Pure; owns neither the file (`ingest.log_kafka.derive.state`) nor the messages' bytes.
"""

from __future__ import annotations

from msgspec.structs import replace

from ingest.derive import Known, Place, State, Step
from ingest.log import Head
from schemas.entries import AccountEntry, HeadEntry, RecordEntry
from schemas.records_codec import AccountState, Content, DerivePlace, HeadGone, StateOnly
from schemas.syntax import Did
from schemas.tid import Tid


class Overlay:
    """HOT. `known_here` and `places` are what is to be written; a place of None is a deleted path."""

    def __init__(self, below: State) -> None:
        self._below = below
        self.known_here: dict[str, Known] = {}
        self.places: dict[str, dict[str, Place | None]] = {}
        self.last: DerivePlace | None = None
        """The place in `commits` that the newest message said."""

    def known(self, did: str) -> Known | None:
        return self.known_here.get(did) or self._below.known(did)

    def place(self, did: str, path: str) -> Place | None:
        here = self.places.get(did)
        if here is not None and path in here:
            return here[path]
        return self._below.place(did, path)

    def live(self, did: str, limit: int) -> list[tuple[str, Place]]:
        here = self.places.get(did, {})
        found = dict(self._below.live(did, limit + len(here)))
        for path, place in here.items():
            if place is None:
                found.pop(path, None)
            else:
                found[path] = place
        return sorted(found.items())[:limit]

    def takedown_at(self, uri: str) -> int | None:  # noqa: ARG002 - a State's
        """Nothing: compaction finds what a takedown replaces by its key."""
        return None

    def take(self, step: Step) -> None:
        """A step has been derived."""
        if step.known is not None:
            self.known_here[step.did] = step.known
        if step.index:
            self.places.setdefault(step.did, {}).update(step.index)

    def restore(self, content: Content, state: AccountState | None) -> None:
        """A message of `records` has been read; they come in order, and each is the newest of its key so far."""
        match content:
            case RecordEntry():
                place = None if content.value is None else (content.n, content.first_time)
                self.places.setdefault(content.did, {})[f"{content.collection}/{content.rkey}"] = place
            case HeadEntry():
                assert state is not None
                known = self._known(content.did)
                rev, data, commit = _newer(known.head.rev, content.rev), content.data, content.commit
                head = replace(known.head, rev=rev, data=data, commit=commit, partial=state.partial)
                self.known_here[content.did] = replace(known, head=head, head_at=content.n)
            case HeadGone():
                known = self._known(content.did)
                head = replace(known.head, data=None, commit=None, commit_block=None, partial=False)
                self.known_here[content.did] = replace(known, head=head, head_at=None)
            case AccountEntry():
                assert state is not None
                known = self._known(content.did)
                head = replace(_over(known.head, state), handle=content.handle, verified_at=content.verified_at)
                self.known_here[content.did] = replace(known, head=head, account_at=content.n)
            case StateOnly():
                known = self._known(content.did)
                self.known_here[content.did] = replace(known, head=_over(known.head, content.state))
            case DerivePlace():
                self.last = content
            case _:
                pass  # a takedown: its entry is all there is

    def _known(self, did: Did) -> Known:
        return self.known(did) or Known(Head(did))


def state_of(head: Head) -> AccountState:
    """What the messages of an account carry of its head."""
    return AccountState(head.status, head.taken_down, head.rev, head.partial)


def _over(head: Head, state: AccountState) -> Head:
    return replace(head, status=state.status, taken_down=state.taken_down, rev=_newer(head.rev, state.rev))


def _newer(one: Tid | None, other: Tid | None) -> Tid | None:
    """Revs only rise; compaction may leave a head that is newer than an account's message before it."""
    return max((rev for rev in (one, other) if rev is not None), default=None)
