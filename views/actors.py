"""An account as others see it: handle, state, and its profile ready to send.

Fragments are JSON members, each led by a comma, so that `{"did":...,"handle":...` + `basic` + `more` + `detail` + `}`
is a profile; the byte 0x00 stands for the base URL of images. States are filtered at read. Does not own counts
(`followers`, `follows_by_actor`, `author_feed`) nor viewer state.
"""

from __future__ import annotations

from typing import Any

import orjson

from schemas.data import to_json
from schemas.datetimes import from_micros
from schemas.entries import AccountEntry
from views.post_view import image_url, self_labels
from views.record import CHAT_DECLARATION, NOTIFICATION_DECLARATION, PROFILE, Record
from views.table import Row, Table, blob, integer, text
from views.view import ACCOUNT, ACTOR, View

TABLE = Table(
    "actors",
    "records",
    partition=(text("did", "account"),),
    columns=(
        text("handle", "as ingest verified it; NULL when none holds (present it as handle.invalid)"),
        text("status", "active, deactivated, deleted, suspended, takendown, desynchronized or throttled"),
        integer("verified_at", "log time of the entry that set the handle; 0 before the first"),
        text("display_name", "for search; empty when none"),
        blob("basic", "members of profileViewBasic: displayName, pronouns, avatar, createdAt"),
        blob("more", "members that profileView adds: description, indexedAt"),
        blob("detail", "members that profileViewDetailed adds: banner, website, pinnedPost"),
        blob("labels", "self-labels: label objects joined by commas, without brackets"),
        text("profile_cid", "of app.bsky.actor.profile/self; NULL when there is none (or it is invalid)"),
        text("chat", "allowIncoming of chat.bsky.actor.declaration/self; NULL when there is none"),
        text("subscriptions", "allowSubscriptions of app.bsky.notification.declaration/self; NULL when there is none"),
    ),
)

_NO_PROFILE = ("", b"", b"", b"", b"", None)


def _account(row: Row | None, did: str, entry: AccountEntry) -> Row:
    return (did, entry.handle, entry.status, entry.verified_at, *(_blank(did) if row is None else row)[4:])


def _profile(row: Row | None, did: str, record: Record | None) -> Row:
    row = row or _blank(did)
    return (*row[:4], *(_NO_PROFILE if record is None else _ready(record)), *row[10:])


def _chat(row: Row | None, did: str, record: Record | None) -> Row:
    row = row or _blank(did)
    return (*row[:10], None if record is None else record.value["allowIncoming"], row[11])


def _subscriptions(row: Row | None, did: str, record: Record | None) -> Row:
    row = row or _blank(did)
    return (*row[:11], None if record is None else record.value["allowSubscriptions"])


def _blank(did: str) -> Row:
    return (did, None, "active", 0, *_NO_PROFILE, None, None)


def _ready(record: Record) -> Row:
    value, did = record.value, record.did
    created = from_micros(record.sort_at)
    basic: dict[str, Any] = {name: value[name] for name in ("displayName", "pronouns") if value.get(name)}
    if "avatar" in value:
        basic["avatar"] = image_url("avatar", did, value["avatar"])
    basic["createdAt"] = created
    more: dict[str, Any] = {"description": value["description"]} if value.get("description") else {}
    more["indexedAt"] = from_micros(record.first_time)
    detail = {name: to_json(value[name]) for name in ("website", "pinnedPost") if value.get(name)}
    if "banner" in value:
        detail["banner"] = image_url("banner", did, value["banner"])
    return (
        value.get("displayName", ""),
        _members(basic),
        _members(more),
        _members(detail),
        self_labels(record),
        record.cid,
    )


def _members(fields: dict[str, Any]) -> bytes:
    return b"," + orjson.dumps(fields)[1:-1] if fields else b""


VIEW = View(
    TABLE,
    merge={
        ACCOUNT: _account,
        PROFILE: _profile,
        CHAT_DECLARATION: _chat,
        NOTIFICATION_DECLARATION: _subscriptions,
    },
    merged=ACTOR,
)
