"""What the AppView's endpoints are given: the views to read, and a few questions that most of them ask.

Wiring makes one `AppViewReader(store, image_url)` a generation and serves `apps.VIEWS` with it, and images
below `/img/` (`api.appview.images`). Does not own read-your-writes (`api/fresh.py`).
"""

from __future__ import annotations

from copy import copy

from api.appview.late import InTime
from api.appview.loader import Loader
from api.appview.rules import is_active
from api.appview.together import Together, in_turn
from api.errors import invalid_request
from schemas.errors import XrpcError
from views import actors, handles, heads
from views.big_authors_read import BigAuthors
from views.store import Store
from views.store_recent import RecentStore
from views.table import Row
from views.timeline_read import TimelineReader

_CLAIMS_MOST = 100  # accounts that verified one handle
_REV = heads.TABLE.index("rev")


class AppViewReader:
    """`image_url` is the base of image addresses, without a slash at its end.

    `big_kept`: see `BigAuthors`; for a store that other processes write. `in_time` may give up what an answer can
    do without; without it, for a store of this process, all is waited for.
    """

    __slots__ = ("_image_url", "_in_time", "_together", "store", "timelines")

    def __init__(
        self,
        store: Store,
        image_url: str,
        together: Together = in_turn,
        *,
        big_kept: float | None = None,
        in_time: InTime | None = None,
    ) -> None:
        self.store = store
        self.timelines = TimelineReader(store, BigAuthors(store, big_kept))
        self._image_url = image_url.rstrip("/").encode()
        self._together = together
        self._in_time = in_time

    def since(self, moment: float) -> AppViewReader:
        """For a request that may be shown nothing that was read before `moment` (of the store's clock)."""
        store = self.store
        if not isinstance(store, RecentStore):
            return self
        newer = store.since(moment)
        if newer is store:
            return self
        reader = copy(self)
        reader.store, reader.timelines = newer, self.timelines.through(newer)
        return reader

    def loader(self, viewer: str | None) -> Loader:
        return Loader(self.store, viewer, self._together, self._in_time)

    def send(self, body: bytes) -> bytes:
        """The answer with image addresses whole: no JSON text but ours holds 0x00."""
        return body.replace(b"\x00", self._image_url)

    async def repo_rev(self, did: str) -> str | None:
        """The rev of an account's repo that the views have reached."""
        (row,) = await self.store.get_many(heads.TABLE, ((did,),))
        return None if row is None else row[_REV]

    async def find(self, actor: str) -> str | None:
        """The DID of a DID or handle, whether or not we know the account; None for a handle that nobody holds."""
        if actor.startswith("did:"):
            return actor
        claims = await self.store.slice(handles.TABLE, (actor.lower(),), limit=_CLAIMS_MOST)
        return min(claims, key=lambda row: (-row[2], row[1]))[1] if claims else None

    async def account(self, actor: str, missing: XrpcError) -> tuple[str, Row | None]:
        """The DID of an account of whom anything is known, and its row; raises `missing`."""
        did = await self.find(actor)
        if did is not None:
            (row,) = await self.store.get_many(actors.TABLE, ((did,),))
            if row is not None:
                if row[2] != "deleted":
                    return did, row
            elif await self.repo_rev(did) is not None:
                return did, None
        raise missing

    async def shows(self, did: str) -> bool:
        """Whether an account's state lets others see it; one that nothing is known of may be seen."""
        (row,) = await self.store.get_many(actors.TABLE, ((did,),))
        return is_active(row)

    async def resolve_uri(self, uri: str) -> str:
        """The AT-URI with a DID for its authority; the same when its handle is unknown."""
        authority = uri.split("/", 3)[2]
        did = await self.find(authority)
        return uri if did is None or did == authority else uri.replace(authority, did, 1)


def profile_not_found() -> XrpcError:
    return invalid_request("Profile not found")


def actor_not_found(actor: str) -> XrpcError:
    return invalid_request(f"Actor not found: {actor}")
