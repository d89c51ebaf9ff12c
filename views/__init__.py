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
    followed_by,
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
    restrictions,
    thread,
    timelines,
)
from views.view import View

ALL: tuple[View, ...] = (
    records.VIEW,
    heads.VIEW,
    actors.VIEW,
    handles.VIEW,
    actors_by_prefix.VIEW,
    posts.VIEW,
    thread.VIEW,
    restrictions.VIEW,
    author_feed.VIEW,
    interactions.VIEW,
    likes_by_actor.VIEW,
    reposts_by_actor.VIEW,
    follows_by_actor.VIEW,
    follows_by_time.VIEW,
    followers.VIEW,
    followed_by.VIEW,
    blocks_by_actor.VIEW,
    blocks_by_time.VIEW,
    blocked_by.VIEW,
    recent_by_author.VIEW,
    big_authors.VIEW,
    timelines.VIEW,
)
