"""app.bsky.bookmark: posts that an account keeps, for itself alone."""

from __future__ import annotations

from api.app.bsky.bookmark import create_bookmark, delete_bookmark, get_bookmarks

ENDPOINTS = (create_bookmark.ENDPOINT, delete_bookmark.ENDPOINT, get_bookmarks.ENDPOINT)
