"""Which records count, said again by hand: the few lexicons the random network writes, without their validators.

A record that does not hold is in the repo and in nothing that is computed. Total over any JSON value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_DATETIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,20}))?(Z|[+-]\d\d:\d\d)", re.ASCII
).fullmatch
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]*[A-Za-z0-9._-]", re.ASCII).fullmatch
_AT_URI = re.compile(r"at://(did:[a-z]+:[A-Za-z0-9._:%-]+)/([a-zA-Z0-9.-]+)/([A-Za-z0-9._:~-]+)", re.ASCII).fullmatch
_TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}").fullmatch
_CID = re.compile(r"baf[a-z2-7]{56}").fullmatch
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(text: Any) -> int | None:
    """Unix microseconds of a well-formed createdAt; None for everything else."""
    form = _DATETIME(text) if isinstance(text, str) else None
    if form is None or text.endswith("-00:00"):
        return None
    year, month, day, hour, minute, second = (int(part) for part in form.groups()[:6])
    # Years below 1 are outside Python's calendar; the Gregorian one repeats every 400 years.
    cycles = 1 if year < 400 else 0
    try:
        at = datetime(year + 400 * cycles, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    found = (at - _EPOCH) // timedelta(microseconds=1) - cycles * 146_097 * 86_400_000_000
    found += int((form[7] or "0").ljust(6, "0")[:6])
    if form[8] != "Z":
        hours, minutes = int(form[8][1:3]), int(form[8][4:6])
        if hours > 23 or minutes > 59:
            return None
        shift = (hours * 60 + minutes) * 60_000_000
        found += -shift if form[8][0] == "+" else shift
    low, high = moment_of_year_0(), 253_402_300_799_999_999
    return found if low <= found <= high else None


def moment_of_year_0() -> int:
    return -62_167_219_200_000_000


def holds(collection: str, rkey: str, value: Any) -> bool:
    """Whether a record of a collection that views are made of counts."""
    if not isinstance(value, Mapping) or value.get("$type") != collection:
        return False
    rule = _RULES.get(collection)
    return rule is not None and rule(rkey, value)


def _post(rkey: str, value: Mapping[str, Any]) -> bool:
    text = value.get("text")
    if _TID(rkey) is None or moment(value.get("createdAt")) is None:
        return False
    if not isinstance(text, str) or len(text) > 300:
        return False
    reply = value.get("reply")
    if "reply" in value and not (
        isinstance(reply, Mapping) and _strong(reply.get("root")) and _strong(reply.get("parent"))
    ):
        return False
    return "embed" not in value or _embed(value["embed"])


def _embed(embed: Any) -> bool:
    if not isinstance(embed, Mapping):
        return False
    kind = embed.get("$type")
    if kind == "app.bsky.embed.record":
        return _strong(embed.get("record"))
    if kind == "app.bsky.embed.recordWithMedia":
        inner = embed.get("record")
        return isinstance(inner, Mapping) and _strong(inner.get("record")) and _embed(embed.get("media"))
    if kind == "app.bsky.embed.images":
        images = embed.get("images")
        return isinstance(images, list) and len(images) <= 4
    return isinstance(kind, str)


def _on_record(rkey: str, value: Mapping[str, Any]) -> bool:
    return _TID(rkey) is not None and moment(value.get("createdAt")) is not None and _strong(value.get("subject"))


def _on_account(rkey: str, value: Mapping[str, Any]) -> bool:
    subject = value.get("subject")
    is_did = isinstance(subject, str) and _DID(subject) is not None
    return _TID(rkey) is not None and moment(value.get("createdAt")) is not None and is_did


def _profile(rkey: str, value: Mapping[str, Any]) -> bool:
    name, about = value.get("displayName", ""), value.get("description", "")
    if rkey != "self" or not isinstance(name, str) or not isinstance(about, str):
        return False
    if "createdAt" in value and moment(value["createdAt"]) is None:
        return False
    return len(name) <= 64 and len(about) <= 256 and ("pinnedPost" not in value or _strong(value["pinnedPost"]))


def _strong(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    uri, cid = value.get("uri"), value.get("cid")
    return isinstance(uri, str) and _AT_URI(uri) is not None and isinstance(cid, str) and _CID(cid) is not None


def _threadgate(rkey: str, value: Mapping[str, Any]) -> bool:
    allow = value.get("allow", [])
    if not isinstance(allow, list) or len(allow) > 5 or not all(isinstance(rule, Mapping) for rule in allow):
        return False
    lists = [rule.get("list") for rule in allow if rule.get("$type") == "app.bsky.feed.threadgate#listRule"]
    named = all(isinstance(rule.get("$type"), str) for rule in allow) and all(map(_uri, lists))
    return named and _gate(rkey, value, "hiddenReplies", 300)


def _postgate(rkey: str, value: Mapping[str, Any]) -> bool:
    rules = value.get("embeddingRules", [])
    if not isinstance(rules, list) or len(rules) > 5:
        return False
    named = all(isinstance(rule, Mapping) and isinstance(rule.get("$type"), str) for rule in rules)
    return named and _gate(rkey, value, "detachedEmbeddingUris", 50)


def _gate(rkey: str, value: Mapping[str, Any], listed: str, most: int) -> bool:
    uris = value.get(listed, [])
    if _TID(rkey) is None or moment(value.get("createdAt")) is None or not _uri(value.get("post")):
        return False
    return isinstance(uris, list) and len(uris) <= most and all(map(_uri, uris))


def _uri(value: Any) -> bool:
    return isinstance(value, str) and _AT_URI(value) is not None


_RULES = {
    "app.bsky.feed.post": _post,
    "app.bsky.feed.like": _on_record,
    "app.bsky.feed.repost": _on_record,
    "app.bsky.graph.follow": _on_account,
    "app.bsky.graph.block": _on_account,
    "app.bsky.actor.profile": _profile,
    "app.bsky.feed.threadgate": _threadgate,
    "app.bsky.feed.postgate": _postgate,
}
