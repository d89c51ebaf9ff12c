"""Views: tables and the projections that fill them, one file each. Does not own how they are fed (`processors`)."""

from __future__ import annotations

from views import (
    actors,
    actors_by_prefix,
    author_feed,
    big_authors,
    blocked_by,
    blocks_by_actor,
    blocks_by_time,
    followers,
    follows_by_actor,
    follows_by_time,
    handles,
    heads,
    interactions,
    likes_by_actor,
    posts,
    recent_by_author,
    records,
    reposts_by_actor,
    takedowns,
    thread,
    timelines,
)
from views.table import Table

ALL: tuple[Table, ...] = (
    records.TABLE,
    heads.TABLE,
    actors.TABLE,
    handles.TABLE,
    actors_by_prefix.TABLE,
    posts.TABLE,
    thread.TABLE,
    author_feed.TABLE,
    interactions.TABLE,
    likes_by_actor.TABLE,
    reposts_by_actor.TABLE,
    follows_by_actor.TABLE,
    follows_by_time.TABLE,
    followers.TABLE,
    blocks_by_actor.TABLE,
    blocks_by_time.TABLE,
    blocked_by.TABLE,
    recent_by_author.TABLE,
    big_authors.TABLE,
    timelines.TABLE,
    takedowns.TABLE,
)
