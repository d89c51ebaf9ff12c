"""The settings of a network, in one process or in many: addresses, names, limits, timelines, logs.

Does not own where values come from (`headrace/settings.py`) nor what only a cluster needs (`settings_cluster.py`).
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode

Port = Annotated[int, Field(ge=0, le=65535)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")]


def split(value: Any) -> Any:
    """A list written with commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class NetworkSettings(BaseSettings):
    """A port of 0 lets the system choose one (it is printed)."""

    data: Path = Field(Path("data"), description="Directory of everything that is kept; locked to one process.")
    host: str = Field("127.0.0.1", min_length=1, description="Address all listeners bind to.")
    port: Port = Field(2583, description="XRPC port of PDS and AppView.")
    plc_port: Port = Field(2582, description="Port of the did:plc directory.")
    ops_port: Port = Field(2580, description="Port of metrics, status and the ingest hook; keep it private.")
    hostname: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+$")] = Field(
        "localhost", description="Public name of this server, without a port; its DID is did:web of it."
    )
    public_url: HttpUrl | None = Field(
        None, description="Address clients reach the XRPC port by; by default http, hostname and port."
    )
    plc_url: HttpUrl | None = Field(None, description="Another did:plc directory to use; by default our own.")
    identity_cache_rows: Annotated[int, Field(ge=0)] = Field(
        200_000,
        description="DID documents kept on disk where `plc_url` is set, so that a restart asks for none of them; "
        "0 keeps none.",
    )
    plc_mirror: bool = Field(
        default=False,
        description="Follow all of `plc_url`'s operations, so that its DIDs resolve here; not for AppViews, which keep "
        "nothing.",
    )
    plc_mirror_rate: Annotated[float, Field(gt=0, le=100)] = Field(
        1.0, description="Requests a second for pages of operations (1,000 each)."
    )
    plc_mirror_lag: Annotated[float, Field(gt=0)] = Field(
        60.0, description="Seconds that the mirror may be behind and still be believed."
    )
    handle_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        (".test",), description="Domains new handles may lie under, each with a leading dot; comma-separated."
    )
    dns_servers: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Name servers to ask of handles, as 192.0.2.53 or 192.0.2.53:5353; comma-separated; by default the"
        " system's.",
    )
    appview_did: str | None = Field(
        None, description="DID of the AppView for `atproto-proxy` and service tokens; by default the server's."
    )
    image_url: HttpUrl | None = Field(
        None, description="Address of an image CDN to name in views; by default this server's."
    )
    shards: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Shards of the log; fixed when the data directory is made."
    )
    rate_limits: bool = Field(default=True, description="Whether the reference's rate limits apply.")
    rate_limit_scale: Annotated[float, Field(gt=0)] = Field(1.0, description="Multiplies every rate limit.")
    requests_at_once: Annotated[int, Field(ge=1, le=4_096)] = Field(
        128, description="Requests of a kind answered at once, in each process; of transfers eight times as many."
    )
    requests_waiting: Annotated[int, Field(ge=0, le=65_536)] = Field(
        512, description="Requests of a kind that wait for that; what comes beyond is answered 503 at once."
    )
    request_wait: Annotated[float, Field(gt=0, le=60)] = Field(
        1.0, description="Seconds after which a request that waits is answered 503."
    )
    trust_forwarded: bool = Field(
        default=False, description="Take clients' addresses from X-Forwarded-For (only behind a proxy of yours)."
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Let identity resolution and the relay connect to private addresses, by http too (a laboratory).",
    )
    json_limit: Annotated[int, Field(ge=65_536, le=16_777_216)] = Field(
        2_097_152, description="Largest JSON body, bytes."
    )
    blob_limit: Annotated[int, Field(ge=65_536)] = Field(100_000_000, description="Largest blob, bytes.")
    open_files: Annotated[int, Field(ge=8)] = Field(
        256, description="Account files open at once; each takes 0.2 MB of memory."
    )
    pull_above: Annotated[int, Field(ge=1)] = Field(
        2_000, description="An author with more followers is merged into timelines at read, not pushed to them."
    )
    timeline_backfill: Annotated[int, Field(ge=1, le=1_000)] = Field(
        100, description="Newest posts of an author that a new follower's timeline is given."
    )
    timeline_length: Annotated[int, Field(ge=1)] = Field(
        1_000, description="Timeline entries kept; pages below are computed at read."
    )
    timeline_trim_every: Annotated[int, Field(ge=1)] = Field(
        512, description="One write to a timeline in so many looks whether there is something to cut."
    )
    audit_seconds: Annotated[float, Field(ge=0)] = Field(
        10.0,
        description="How often an account of the live views is computed anew and compared, or in a cluster how long a"
        " processor rests between two passes over a shard that take a few; 0 for never.",
    )
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = Field(
        None,
        description="Collector of OpenTelemetry that traces are sent to, as http://collector:4318; without it nothing"
        " is traced.",
    )
    otlp_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01, description="Share of requests that are traced, from 0 to 1."
    )
    otlp_trust_callers: bool = Field(
        default=False,
        description="Go on with the traces that requests come with (`traceparent`); only where all callers are yours.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("data", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if value == "":  # would be the working directory
            raise ValueError("expected a directory; a dot is the working directory")
        return value

    @field_validator("dns_servers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for server in value:
            address, colon, port = server.rpartition(":")
            with_port = bool(colon) and (address.startswith("[") or ":" not in address) and port.isdecimal()
            try:
                ip_address((address if with_port else server).strip("[]"))
            except ValueError:
                raise ValueError(f"expected addresses, each with a port if need be, found {server!r}") from None
        return value

    @field_validator("handle_domains", "dns_servers", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split(value)

    @field_validator("handle_domains")
    @classmethod
    def _dotted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [domain for domain in value if not domain.startswith(".") or len(domain) < 3]
        if wrong or not value:
            raise ValueError("each domain needs a leading dot, as in .example.com")
        return value
