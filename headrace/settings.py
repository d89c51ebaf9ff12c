"""Every setting, once: its name, type, bounds, default and what it is for.

Flags win over environment (HEADRACE_*), environment over the TOML file, the file over defaults. docs/settings.md is
this file as a table (a test holds them equal). Does not own secrets: they are files in the data directory
(`headrace/secrets.py`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "HEADRACE_"
CONFIG = "HEADRACE_CONFIG"
# Variables of the same prefix that are no settings.
_NOT_SETTINGS = frozenset({CONFIG, "HEADRACE_CRASH", "HEADRACE_VECTORS"})

# Settings that `headrace up` has flags of their own for; `--set` takes these and all others.
OWN_FLAGS = ("data", "host", "port", "plc_port", "ops_port")

Port = Annotated[int, Field(ge=0, le=65535)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")]


class SettingsError(Exception):
    """A setting is wrong. The message names it, what was expected and found, and where to change it."""


class Settings(BaseSettings):
    """All settings. A port of 0 lets the system choose one (`headrace up` prints it)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, case_sensitive=False)
    _toml: ClassVar[Path | None] = None

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
    handle_domains: Annotated[tuple[str, ...], NoDecode] = Field(
        (".test",), description="Domains new handles may lie under, each with a leading dot; comma-separated."
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
    trust_forwarded: bool = Field(
        default=False, description="Take clients' addresses from X-Forwarded-For (only behind a proxy of yours)."
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Let identity resolution connect to private addresses (a network in a laboratory).",
    )
    json_limit: Annotated[int, Field(ge=65_536, le=16_777_216)] = Field(
        2_097_152, description="Largest JSON body, bytes."
    )
    blob_limit: Annotated[int, Field(ge=65_536)] = Field(100_000_000, description="Largest blob, bytes.")
    open_files: Annotated[int, Field(ge=8)] = Field(256, description="Account files open at once.")
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
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("data", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if value == "":  # would be the working directory
            raise ValueError("expected a directory; a dot is the working directory")
        return value

    @field_validator("handle_domains", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("handle_domains")
    @classmethod
    def _dotted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [domain for domain in value if not domain.startswith(".") or len(domain) < 3]
        if wrong or not value:
            raise ValueError("each domain needs a leading dot, as in .example.com")
        return value

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        ports = [port for port in (self.port, self.plc_port, self.ops_port) if port]
        if len(set(ports)) != len(ports):
            raise ValueError("port, plc_port and ops_port must differ")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        toml = () if cls._toml is None else (TomlConfigSettingsSource(settings_cls, cls._toml),)
        return (init_settings, env_settings, *toml)


def load(flags: Mapping[str, Any], config: Path | None = None) -> Settings:
    """Settings from all sources. Raises SettingsError, with the cure, on the first sight of anything wrong."""
    path = config or (Path(os.environ[CONFIG]) if os.environ.get(CONFIG) else None)
    if path is not None and not path.is_file():
        wrong = "is no file" if path.exists() else "the settings file does not exist"
        raise SettingsError(f"{path}: {wrong}. Name another with --config or {CONFIG}")
    _refuse_unknown_variables()

    class _WithFile(Settings):
        _toml = path

    given = {name: value for name, value in flags.items() if value is not None}
    try:
        found = _WithFile(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_cure(detail, given, path) for detail in error.errors())) from None
    except (ValueError, OSError) as error:  # TOML that cannot be read
        raise SettingsError(f"{path or 'environment'}: expected TOML: {error}") from None
    return Settings.model_construct(**found.model_dump())


def _refuse_unknown_variables() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _NOT_SETTINGS
    for variable in os.environ:
        if variable.startswith(PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, 1)
            cure = f"Did you mean {near[0]}?" if near else "docs/settings.md lists all of them"
            raise SettingsError(f"{variable}: no such setting. {cure}")


def _cure(detail: Mapping[str, Any], flags: Mapping[str, Any], path: Path | None) -> str:
    name = ".".join(str(part) for part in detail["loc"]) or "settings"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, 1)
        message = f"no such setting. {f'Did you mean {near[0]}?' if near else 'docs/settings.md lists all of them.'}"
    root = name.partition(".")[0]
    if root in flags:
        where = f"the flag --{root.replace('_', '-')}" if root in OWN_FLAGS else f"the flag --set {root}"
    elif PREFIX + root.upper() in os.environ:
        where = f"the variable {PREFIX}{root.upper()}"
    else:
        where = str(path) if path is not None else "the settings"
    if detail["type"] == "extra_forbidden":
        return f"{name}: {message} It is in {where}"
    found = f", found {detail['input']!r}" if detail["loc"] else ""
    return f"{name}: {message}{found}. Change it in {where}"


def markdown() -> str:
    """docs/settings.md's table."""
    lines = ["| setting | variable | default | what it is |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = field.default
        shown = ", ".join(value) if isinstance(value, tuple) else str(value)
        default = "" if value is None else f"`{shown.lower() if isinstance(value, bool) else shown}`"
        lines.append(f"| `{name}` | `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"
