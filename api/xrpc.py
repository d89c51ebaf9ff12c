"""What an endpoint is: its declaration, what it is given, what it may answer.

One module an endpoint, named by its NSID in snake case, exposing `ENDPOINT = Endpoint(...)`. A package lists its
endpoints in one tuple `ENDPOINTS` in its `__init__.py`; `api/apps.py` lists the packages of each role.

    async def handle(ctx: Ctx) -> Answer:
        return {"did": await ctx.services.pds.resolve_handle(ctx.params["handle"])}

    ENDPOINT = Endpoint("com.atproto.identity.resolveHandle", handle)

An endpoint refuses with `XrpcError` (helpers: `api/errors.py`). It never sees a request that failed its lexicon, its
authentication or its rate limit: `api/dispatch.py` does those, in the reference's order (parameters, authentication,
input, rate), and owns everything of HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from api.appview.reader import AppViewReader
    from api.config import ServerConfig
    from api.firehose import FirehoseHub
    from api.fresh import Fresh
    from api.metrics import HttpMetrics
    from ingest.identity.resolver import IdentityResolver
    from ingest.log import Log, Operator
    from ingest.pds.pds import Pds
    from ingest.relay.directory import RelayDirectory
    from schemas.lexicon import Catalogue
    from schemas.syntax import Did


class Auth(StrEnum):
    """Who may call, and what `ctx.auth` then is.

    The state of an account (deactivated, taken down) is not judged here: the domain does it where it matters.
    """

    NONE = "none"  # anybody; the Authorization header is not read
    OPTIONAL = "optional"  # nobody, a session of this PDS, or a service token; a bad token is refused
    ACCESS = "access"  # a session's access token, app passwords included
    FULL = "full"  # a session's access token, not from an app password
    TAKENDOWN = "takendown"  # as ACCESS, and the narrower token that an account under takedown is given
    REFRESH = "refresh"  # a refresh token
    REFRESH_EXPIRED = "refresh_expired"  # as REFRESH, also after its time (deleteSession)
    ADMIN = "admin"  # Basic admin:token
    SERVICE = "service"  # a service token for this method
    SERVICE_OPTIONAL = "service_optional"  # nobody, or a service token for this method (createAccount)
    ACCESS_OR_SERVICE = "access_or_service"  # uploadBlob
    ACCESS_OR_ADMIN_OPTIONAL = "access_or_admin_optional"  # sync reads: an owner or the admin sees hidden repos


class Kind(StrEnum):
    """Which kind of credential was shown."""

    ACCESS = "access"
    REFRESH = "refresh"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A verified credential. `did` is the account (a service token's issuer), None for the admin.

    `scope` is the session's scope as written in the token ("com.atproto.access", "com.atproto.appPass", ...), `jti`
    the token's id, `token` the text as shown (never logged).
    """

    kind: Kind
    did: Did | None = None
    scope: str = ""
    jti: str = ""
    token: str = field(default="", repr=False)


class Services:
    """Everything endpoints may need, by role. A part its role does not have is unset: reading it is our bug.

    Tests set what the endpoint under test reads: `Services(pds=..., catalogue=...)`.
    """

    __slots__ = (
        "appview",
        "catalogue",
        "config",
        "firehose",
        "fresh",
        "log",
        "metrics",
        "now",
        "operations",
        "pds",
        "relay",
        "resolver",
    )

    appview: AppViewReader
    catalogue: Catalogue
    config: ServerConfig
    firehose: FirehoseHub
    fresh: Fresh
    log: Log
    metrics: HttpMetrics
    now: Callable[[], int]  # unix microseconds
    operations: Operator
    pds: Pds
    relay: RelayDirectory
    resolver: IdentityResolver

    def __init__(self, **parts: Any) -> None:
        for name, part in parts.items():
            setattr(self, name, part)

    def since(self, moment: float) -> Services:
        """The same with views of which nothing is shown that was read before `moment`."""
        newer = self.appview.since(moment)
        return self if newer is self.appview else self.reading(newer, self.fresh)

    def reading(self, appview: AppViewReader, fresh: Fresh) -> Services:
        """The same with other views to read."""
        parts = {name: getattr(self, name) for name in self.__slots__ if hasattr(self, name)}
        return Services(**parts | {"appview": appview, "fresh": fresh})


class Ctx:
    """One request, verified. `headers_out` is added to the answer (None until the first is set: use `set_header`)."""

    __slots__ = ("auth", "body", "headers_out", "input", "nsid", "params", "request", "services", "viewer")

    def __init__(
        self,
        nsid: str,
        services: Services,
        *,
        params: dict[str, Any] | None = None,
        input: Any = None,  # noqa: A002 - the lexicon's own word
        body: Body | None = None,
        viewer: Did | None = None,
        auth: Credentials | None = None,
        request: web.BaseRequest | None = None,
    ) -> None:
        self.nsid = nsid
        self.services = services
        self.params: dict[str, Any] = {} if params is None else params
        self.input: Any = input
        self.body = body
        self.viewer = viewer
        self.auth = auth
        self.request = request
        self.headers_out: dict[str, str] | None = None

    @property
    def account(self) -> Did:
        """The DID of a caller whose endpoint demands a session or service token."""
        assert self.viewer is not None, f"{self.nsid} reads ctx.account but its auth mode lets nobody in"
        return self.viewer

    def set_header(self, name: str, value: str) -> None:
        if self.headers_out is None:
            self.headers_out = {}
        self.headers_out[name] = value


@dataclass(frozen=True, slots=True)
class Body:
    """A binary body (an input that is not JSON), not yet read.

    `length` is what the client declared, or None. The reader must bound what it takes.
    """

    content_type: str
    length: int | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not JSON, or has its own status or headers. An iterator is streamed, and closed at the end."""

    content_type: str
    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200


# dict: serialised here. bytes: a JSON body ready to send. None: 200 without a body. StreamResponse: a websocket
# that the endpoint has already served to its end.
Answer = dict[str, Any] | bytes | Raw | web.StreamResponse | None

Handler = Callable[[Ctx], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method. `points` says what one call costs under the method's own rate limits, from the verified request.

    Which limits a method has is said in `ingest.pds.rate_limit.BY_METHOD`.
    """

    nsid: str
    handle: Handler
    auth: Auth = Auth.NONE
    points: Callable[[Ctx], int] | None = None
