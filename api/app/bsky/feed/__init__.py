"""app.bsky.feed: posts, alone, in feeds, in threads, and who reacted to them."""

from __future__ import annotations

from api.app.bsky.feed import get_author_feed, get_posts, get_timeline

ENDPOINTS = (get_author_feed.ENDPOINT, get_posts.ENDPOINT, get_timeline.ENDPOINT)
