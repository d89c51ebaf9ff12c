"""app.bsky.graph: who follows, blocks and mutes whom."""

from __future__ import annotations

from api.app.bsky.graph import (
    get_blocks,
    get_followers,
    get_follows,
    get_mutes,
    get_relationships,
    mute_actor,
    mute_thread,
    unmute_actor,
    unmute_thread,
)

ENDPOINTS = (
    get_blocks.ENDPOINT,
    get_followers.ENDPOINT,
    get_follows.ENDPOINT,
    get_mutes.ENDPOINT,
    get_relationships.ENDPOINT,
    mute_actor.ENDPOINT,
    mute_thread.ENDPOINT,
    unmute_actor.ENDPOINT,
    unmute_thread.ENDPOINT,
)
