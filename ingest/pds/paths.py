"""Where an account's files lie: DIR/<kind>/<two hex digits of its hash>/<did>, so that no directory grows too large."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

_NAME_MAX = 200  # file systems take 255 bytes; a DID may have 2,048


def account_path(root: Path, did: str, suffix: str = "") -> Path:
    """A DID holds no slash and does not start with a dot, so it is a safe file name; a long one is replaced."""
    digest = sha256(did.encode()).hexdigest()
    name = did if len(did) <= _NAME_MAX else f"sha256-{digest}"
    return root / digest[:2] / (name + suffix)
