"""A DID document as this network reads it: handles, the signing key, the PDS, other services.

Parsing is lenient about what it does not need (a bad key or endpoint reads as absent) and strict about the subject: the
`id` must be the DID that was asked for (https://atproto.com/specs/did#did-documents). Lists are bounded.
Does not own fetching, nor whether a handle points back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ingest.identity.reasons import IdentityReason, IdentityRefused
from ingest.repo.keys import Curve, KeyRefused, PublicKey
from schemas.syntax import Did, Handle

MAX_ENTRIES = 64  # of each list; real documents have under ten
MAX_TEXT = 2048

_LEGACY_KEYS: dict[str, Curve] = {
    "EcdsaSecp256k1VerificationKey2019": "k256",
    "EcdsaSecp256r1VerificationKey2019": "p256",
}


@dataclass(frozen=True, slots=True)
class Service:
    id: str
    """The fragment with its `#`, as `#atproto_pds`."""
    type: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class DidDocument:
    """`handles` are those of alsoKnownAs (`at://`) that parse, in order; the first is the one that is claimed."""

    did: Did
    handles: tuple[Handle, ...]
    signing_key: PublicKey | None
    pds: str | None
    services: tuple[Service, ...]

    def service(self, fragment: str, kind: str | None = None) -> str | None:
        """The endpoint of service `#fragment` (of type `kind`, if given), or None."""
        for service in self.services:
            if service.id == fragment and kind in (None, service.type):
                return service.endpoint
        return None


def parse(did: Did, document: object) -> DidDocument:
    """Read parsed JSON. Raises IdentityRefused(DOCUMENT) when it is no document of `did`."""
    if not isinstance(document, dict):
        raise IdentityRefused(IdentityReason.DOCUMENT, f"expected an object for {did}, found {type(document).__name__}")
    if document.get("id") != did:
        raise IdentityRefused(
            IdentityReason.DOCUMENT,
            f"expected the document of {did}, found that of {str(document.get('id'))[:80]}",
        )
    services = tuple(_services(did, document))
    return DidDocument(did, tuple(_handles(document)), _signing_key(did, document), _pds(services), services)


def endpoint(url: str) -> str | None:
    """An http(s) origin (scheme, host, port) without a trailing slash, or None when it is anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    plain = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain or len(url) > MAX_TEXT:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def _entries(document: dict[str, Any], name: str) -> list[Any]:
    found = document.get(name)
    return found[:MAX_ENTRIES] if isinstance(found, list) else []


def _text(item: dict[str, Any], name: str) -> str:
    found = item.get(name)
    return found if isinstance(found, str) and len(found) <= MAX_TEXT else ""


def _handles(document: dict[str, Any]) -> Iterator[Handle]:
    for alias in _entries(document, "alsoKnownAs"):
        if isinstance(alias, str) and alias.startswith("at://") and Handle.is_valid(alias[5:]):
            yield Handle.parse(alias[5:])


def _services(did: Did, document: dict[str, Any]) -> Iterator[Service]:
    for item in _entries(document, "service"):
        if isinstance(item, dict):
            name, kind, url = _text(item, "id").removeprefix(did), _text(item, "type"), _text(item, "serviceEndpoint")
            if name.startswith("#") and url:
                yield Service(name, kind, url)


def _pds(services: tuple[Service, ...]) -> str | None:
    for service in services:
        if service.id == "#atproto_pds" and service.type == "AtprotoPersonalDataServer":
            return endpoint(service.endpoint)
    return None


def _signing_key(did: Did, document: dict[str, Any]) -> PublicKey | None:
    for item in _entries(document, "verificationMethod"):
        if isinstance(item, dict) and _text(item, "id").removeprefix(did) == "#atproto":
            return _key(_text(item, "type"), _text(item, "publicKeyMultibase"))
    return None


def _key(kind: str, text: str) -> PublicKey | None:
    try:
        if kind == "Multikey":
            return PublicKey.from_multikey(text)
        curve = _LEGACY_KEYS.get(kind)
        return PublicKey.from_legacy_multibase(curve, text) if curve else None
    except KeyRefused:
        return None
