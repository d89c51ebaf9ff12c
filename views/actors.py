"""An account as others see it: handle, state, and its profile ready to send.

Fragments are JSON members, each led by a comma, so that `{"did":...,"handle":...` + `basic` + `more` + `detail` + `}`
is a profile; the byte 0x00 stands for the base URL of images. States are filtered at read. Does not own counts
(`followers`, `follows_by_actor`, `author_feed`) nor viewer state.
"""

from __future__ import annotations

from views.table import Table, blob, integer, text

TABLE = Table(
    "actors",
    "records",
    partition=(text("did", "account"),),
    columns=(
        text("handle", "as ingest verified it; NULL when none holds (present it as handle.invalid)"),
        text("status", "active, deactivated, deleted, suspended, takendown, desynchronized or throttled"),
        integer("verified_at", "log time of the entry that set handle and status; 0 before the first"),
        text("display_name", "for search; empty when none"),
        blob("basic", "members of profileViewBasic: displayName, pronouns, avatar, createdAt"),
        blob("more", "members that profileView adds: description, indexedAt"),
        blob("detail", "members that profileViewDetailed adds: banner, website, pinnedPost, joinedViaStarterPack"),
        blob("labels", "self-labels: label objects joined by commas, without brackets"),
        text("profile_cid", "of app.bsky.actor.profile/self; NULL when there is none (or it is invalid)"),
        text("chat", "allowIncoming of chat.bsky.actor.declaration/self; NULL when there is none"),
        text("subscriptions", "allowSubscriptions of app.bsky.notification.declaration/self; NULL when there is none"),
        integer("offset", "of the newest entry in `records` that changed the row"),
    ),
)
