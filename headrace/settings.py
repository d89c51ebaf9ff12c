"""All settings together, and how they are found: their sources, and what is said when one is wrong.

Flags win over environment (HEADRACE_*), environment over the TOML file, the file over defaults. docs/settings.md is
the declarations (`settings_network.py`, `settings_cluster.py`, `settings_relay.py`) as a table; a test holds them
equal. Does not own secrets: they are files (`headrace/secrets.py`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from headrace.settings_cluster import ClusterSettings
from headrace.settings_relay import RelaySettings

PREFIX = "HEADRACE_"
CONFIG = "HEADRACE_CONFIG"
# Variables of the same prefix that are no settings.
_NOT_SETTINGS = frozenset(
    {
        CONFIG,
        "HEADRACE_CHAOS",
        "HEADRACE_CHAOS_SEED",
        "HEADRACE_CI",
        "HEADRACE_CRASH",
        "HEADRACE_DEVSTACK_CACHE",
        "HEADRACE_TEST_CQL",
        "HEADRACE_TEST_KAFKA",
        "HEADRACE_TOOLS_CACHE",
        "HEADRACE_VECTORS",
    }
)

# Settings that commands have flags of their own for; `--set` takes these and all others.
OWN_FLAGS = ("data", "host", "port", "plc_port", "relay_port", "ops_port", "generation", "runner")


class SettingsError(Exception):
    """A setting is wrong. The message names it, what was expected and found, and where to change it."""


class Settings(ClusterSettings, RelaySettings):
    """All settings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, case_sensitive=False)
    _toml: ClassVar[Path | None] = None

    @model_validator(mode="after")
    def _ports_differ(self) -> Settings:
        ports = [port for port in (self.port, self.plc_port, self.relay_port, self.ops_port) if port]
        if len(set(ports)) != len(ports):
            raise ValueError("port, plc_port, relay_port and ops_port must differ")
        return self

    @model_validator(mode="after")
    def _a_certificate_is_held_to_its_name(self) -> Settings:
        """Which acsylla 1.2 does not: it gives the check of names the number of that of authorities."""
        if self.cql_driver == "acsylla" and self.cql_ssl_ca is not None:
            raise ValueError("cql_driver acsylla checks no names of certificates: with cql_ssl_ca use auto")
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


def where(name: str) -> str:
    """How a setting is set."""
    return f"{PREFIX}{name.upper()}, {name} in the settings file, or --set {name}=VALUE"


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
        default = "" if value in (None, ()) else f"`{shown.lower() if isinstance(value, bool) else shown}`"
        lines.append(f"| `{name}` | `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"
