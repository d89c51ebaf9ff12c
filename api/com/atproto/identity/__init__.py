"""com.atproto.identity: handles."""

from __future__ import annotations

from api.com.atproto.identity import (
    resolve_handle,
    update_handle,
)

ENDPOINTS = (
    resolve_handle.ENDPOINT,
    update_handle.ENDPOINT,
)
