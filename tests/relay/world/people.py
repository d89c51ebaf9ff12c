"""A did:plc directory of a test: documents by DID, moved and re-keyed at will, and what was asked of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

from aiohttp import web

from ingest.identity.handles import HandleResolver
from ingest.identity.plc_client import PlcHttp
from ingest.identity.plc_paced import PacedPlc
from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.identity.resolver import IdentityResolver
from ingest.repo.keys import PrivateKey
from schemas.syntax import Did

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def did_of(number: int) -> Did:
    """A did:plc of the right form, another one for each number."""
    digest = sha256(number.to_bytes(8, "big")).digest()
    return Did("did:plc:" + "".join(_LETTERS[byte % 32] for byte in digest[:24]))


class People:
    """`ingest.identity.plc_client.PlcClient`. `away` makes it answer nobody."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.away = False

    def put(self, did: str, key: PrivateKey, pds: str, handle: str | None = None) -> None:
        self.documents[did] = {
            "id": did,
            "alsoKnownAs": [] if handle is None else [f"at://{handle}"],
            "verificationMethod": [
                {
                    "id": f"{did}#atproto",
                    "type": "Multikey",
                    "controller": did,
                    "publicKeyMultibase": key.public.multikey,
                }
            ],
            "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds}],
        }

    async def document(self, did: Did) -> dict[str, Any]:
        self.asked[did] += 1
        if self.away:
            raise IdentityRefused(IdentityReason.UNREACHABLE, "the directory is away")
        if did not in self.documents:
            raise IdentityRefused(IdentityReason.NOT_FOUND, f"nobody is {did}")
        return self.documents[did]

    async def data(self, did: Did) -> dict[str, Any]:
        raise NotImplementedError

    async def last(self, did: Did) -> dict[str, Any]:
        raise NotImplementedError

    async def audit(self, did: Did) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def submit(self, did: Did, op: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def resolver(self) -> IdentityResolver:
        """The real one, over this directory; there are no handles and no web."""
        return IdentityResolver(self, HandleResolver(_NoDns(), _NoWeb()), _NoWeb())


class _NoDns:
    async def lookup(self, name: str) -> tuple[str, ...]:  # noqa: ARG002 - the port's
        return ()


class _NoWeb:
    async def get(self, url: str, limit: int, accept: str = "*/*", redirects: int = 3) -> Any:  # noqa: ARG002
        raise IdentityRefused(IdentityReason.NOT_FOUND, f"{url}: there is no web in this test")


class Elsewhere(People):
    """A directory that is asked over HTTP, as a relay does."""

    def __init__(self, people: People, url: str) -> None:
        super().__init__()
        self.http = PlcHttp(url)
        self.plc = PacedPlc(self.http)
        self.put = people.put  # type: ignore[method-assign]

    def resolver(self) -> IdentityResolver:
        return IdentityResolver(self.plc, HandleResolver(_NoDns(), _NoWeb()), _NoWeb())


@asynccontextmanager
async def served(people: People) -> AsyncIterator[str]:
    """The directory over HTTP, for a relay in another process; its address."""

    async def document(request: web.Request) -> web.Response:
        try:
            return web.json_response(await people.document(Did(request.match_info["did"])))
        except IdentityRefused as refused:
            status = 404 if refused.reason is IdentityReason.NOT_FOUND else 503
            return web.json_response({"message": refused.detail}, status=status)

    app = web.Application()
    app.router.add_get("/{did}", document)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
