"""app.bsky.feed: posts, alone, in feeds, in threads, and who reacted to them."""

from __future__ import annotations

from api.app.bsky.feed import (
    get_author_feed,
    get_likes,
    get_post_thread,
    get_posts,
    get_quotes,
    get_reposted_by,
    get_timeline,
)

ENDPOINTS = (
    get_author_feed.ENDPOINT,
    get_likes.ENDPOINT,
    get_post_thread.ENDPOINT,
    get_posts.ENDPOINT,
    get_quotes.ENDPOINT,
    get_reposted_by.ENDPOINT,
    get_timeline.ENDPOINT,
)
