"""app.bsky.graph: who follows and blocks whom."""

from __future__ import annotations

from api.app.bsky.graph import get_blocks, get_followers, get_follows, get_relationships

ENDPOINTS = (get_blocks.ENDPOINT, get_followers.ENDPOINT, get_follows.ENDPOINT, get_relationships.ENDPOINT)
