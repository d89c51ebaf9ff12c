"""A few accounts of a shard of `records`, taken at random as its messages pass once, each with what holds now.

Of all accounts that pass those with the smallest salted hashes are kept: one that is let in is let in with its first
message, and one that was refused never comes in later, since the bar only sinks. So each account is as likely as any
other, however much it wrote, and what is kept of it is whole. Bounded: accounts above `ENTRIES_MOST` keys or
`BYTES_MOST` bytes are known to be too large, and nothing is held of them. No I/O; does not own what is read, nor when.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heappop, heappush
from typing import Final

from xxhash import xxh64_intdigest

from schemas import records_codec
from schemas.entries import Derived, RecordEntry
from schemas.errors import InvariantError

ENTRIES_MOST: Final = 5_000  # keys of one account
BYTES_MOST: Final = 4 << 20  # of one account's values


class _Account:
    __slots__ = ("bytes", "keys", "sizes", "too_large")

    def __init__(self) -> None:
        self.keys: dict[bytes, Derived] = {}
        self.sizes: dict[bytes, int] = {}
        self.bytes = 0
        self.too_large = False


class Sample:
    """`take` every message of the shard, in order; after `draw_no_more` no account is let in that was not there."""

    def __init__(self, accounts: int, salt: int, skipped: Collection[int] = ()) -> None:
        """`accounts`: at most so many. `salt`: another is another sample. `skipped`: offsets that need not be known."""
        self._most = accounts
        self._salt = salt
        self._skipped = skipped
        self._accounts: dict[bytes, _Account] = {}
        self._bar: list[tuple[int, bytes]] = []  # hashes negated: the largest first
        self._drawing = True

    def take(self, offset: int, key: bytes | None, value: bytes | None, headers: records_codec.Headers) -> None:
        """HOT: one message of `records`. Raises InvariantError for one that is not known and that nobody skips."""
        try:
            self._take(offset, key, value, headers)
        except InvariantError:
            if offset not in self._skipped:
                raise

    def _take(self, offset: int, key: bytes | None, value: bytes | None, headers: records_codec.Headers) -> None:
        did = account_of(key, offset)
        if did is None or key is None:
            return
        account = self._accounts.get(did)
        if account is None and (account := self._let_in(did)) is None:
            return
        if account.too_large:
            return
        entry = records_codec.decode(key, value, headers, offset)
        if entry is None or (isinstance(entry, RecordEntry) and entry.value is None):
            account.bytes -= account.sizes.pop(key, 0)
            account.keys.pop(key, None)
            return
        size = len(key) + len(value or b"")
        account.bytes += size - account.sizes.get(key, 0)
        account.keys[key], account.sizes[key] = entry, size
        if len(account.keys) > ENTRIES_MOST or account.bytes > BYTES_MOST:
            account.too_large = True
            account.keys.clear()
            account.sizes.clear()

    def _let_in(self, did: bytes) -> _Account | None:
        if not self._drawing:
            return None
        hashed = -xxh64_intdigest(did, self._salt)
        if len(self._bar) == self._most:
            if hashed < self._bar[0][0]:
                return None
            del self._accounts[heappop(self._bar)[1]]
        heappush(self._bar, (hashed, did))
        made = self._accounts[did] = _Account()
        return made

    def draw_no_more(self) -> None:
        """The pass has ended; what follows changes those that are here."""
        self._drawing = False

    def let_go(self, did: str) -> None:
        """Nothing is asked of this account any more; after the pass."""
        del self._accounts[did.encode()]

    @property
    def dids(self) -> list[str]:
        return sorted(did.decode() for did in self._accounts)

    def entries(self, did: str) -> list[Derived] | None:
        """The newest entry of each key that is there, in order of offset; None of an account that is too large."""
        account = self._accounts[did.encode()]
        return None if account.too_large else sorted(account.keys.values(), key=lambda entry: entry.offset)


def account_of(key: bytes | None, offset: int) -> bytes | None:
    """Whose key of `records` it is; None of derive's own. Raises InvariantError for a message without a key."""
    if key is None:
        raise InvariantError(f"records@{offset}: expected a key, found none: no headrace wrote this message")
    if key.startswith(b"at://"):
        return key[5 : key.index(b"/", 5)]
    return key[: key.rindex(b"#")] or None
