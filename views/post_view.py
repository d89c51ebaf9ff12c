"""A post's JSON, made once: what never changes for its CID. Pure.

The byte 0x00 (which JSON text cannot hold) stands for the base URL of images. Does not own what is spliced in at
read: author, counts, viewer, quoted records.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from schemas.data import cbor_to_json
from schemas.datetimes import from_micros
from views.record import Record

HAS_IMAGES: Final = 1
HAS_VIDEO: Final = 2
HAS_EXTERNAL: Final = 4

_IMAGES = "app.bsky.embed.images"
_GALLERY = "app.bsky.embed.gallery"
_VIDEO = "app.bsky.embed.video"
_EXTERNAL = "app.bsky.embed.external"
_RECORD = "app.bsky.embed.record"
_WITH_MEDIA = "app.bsky.embed.recordWithMedia"
_MENTION = "app.bsky.richtext.facet#mention"
_KINDS = {_IMAGES: HAS_IMAGES, _GALLERY: HAS_IMAGES, _VIDEO: HAS_VIDEO, _EXTERNAL: HAS_EXTERNAL}


def _embeds(value: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
    """(the media, the quoted URI); a union is open, so a `$type` that we do not know is neither."""
    embed = value.get("embed")
    if embed is None:
        return None, None
    kind = embed.get("$type")
    if kind == _RECORD:
        return None, embed["record"]["uri"]
    if kind == _WITH_MEDIA:
        return embed["media"], embed["record"]["record"]["uri"]
    return embed, None


def media_kinds(value: dict[str, Any]) -> int:
    media, _ = _embeds(value)
    return 0 if media is None else _KINDS.get(media.get("$type", ""), 0)


def quoted(value: dict[str, Any]) -> str | None:
    """The URI of the record that a post embeds."""
    return _embeds(value)[1]


def mentions(value: dict[str, Any]) -> str:
    """The DIDs that a post mentions, each once, joined by spaces."""
    facets = value.get("facets")
    if not facets:
        return ""
    features = [feature for facet in facets for feature in facet["features"]]
    return " ".join(dict.fromkeys(feature["did"] for feature in features if feature.get("$type") == _MENTION))


def post_view(post: Record) -> tuple[bytes, bytes | None]:
    """(the postView left open, the media's view when it must be joined with a quoted record at read). HOT."""
    value = post.value
    head = b'{"uri":"%b","cid":"%b","record":%b,"indexedAt":"%b"' % (
        post.uri.encode(),
        post.cid.encode(),
        cbor_to_json(post.data),
        from_micros(post.first_time).encode(),
    )
    if "embed" not in value:
        return head, None
    media, quote = _embeds(value)
    view = None if media is None else _media_view(post.did, media)
    if quote is not None:
        return head, view
    return (head if view is None else b'%b,"embed":%b' % (head, view)), None


def _media_view(did: str, media: dict[str, Any]) -> bytes | None:
    kind = media.get("$type")
    view: dict[str, Any]
    if kind == _IMAGES:
        view = {"images": [_image(did, item, "thumb") for item in media["images"]]}
    elif kind == _GALLERY:
        items = [item for item in media["items"] if item.get("$type") == f"{_GALLERY}#image"]
        view = {"items": [{"$type": f"{_GALLERY}#viewImage", **_image(did, item, "thumbnail")} for item in items]}
    elif kind == _VIDEO:
        cid = str(media["video"]["ref"])
        view = {"cid": cid, "playlist": _url(f"watch/{did}/{cid}/playlist.m3u8")}
        view["thumbnail"] = _url(f"watch/{did}/{cid}/thumbnail.jpg")
        view |= {name: media[name] for name in ("alt", "aspectRatio", "presentation") if name in media}
    elif kind == _EXTERNAL:
        external = media["external"]
        view = {name: external[name] for name in ("uri", "title", "description")}
        if "thumb" in external:
            view["thumb"] = image_url("feed_thumbnail", did, external["thumb"])
        if "associatedRefs" in external:
            view["associatedRefs"] = external["associatedRefs"]
        view = {"external": view}
    else:
        return None
    return orjson.dumps({"$type": f"{kind}#view", **view})


def _image(did: str, item: dict[str, Any], thumb: str) -> dict[str, Any]:
    view = {
        thumb: image_url("feed_thumbnail", did, item["image"]),
        "fullsize": image_url("feed_fullsize", did, item["image"]),
        "alt": item["alt"],
    }
    if "aspectRatio" in item:
        view["aspectRatio"] = item["aspectRatio"]
    return view


def image_url(preset: str, did: str, blob: dict[str, Any]) -> orjson.Fragment:
    """Where readers find an image of `did`, as JSON text; `blob` has passed a lexicon."""
    return _url(f"img/{preset}/plain/{did}/{blob['ref']}")


def _url(path: str) -> orjson.Fragment:
    return orjson.Fragment(b'"\x00/%b"' % path.encode())


def self_labels(record: Record) -> bytes:
    """Label objects joined by commas; empty when there are none."""
    labels = record.value.get("labels")
    if labels is None or labels.get("$type") != "com.atproto.label.defs#selfLabels":
        return b""
    same = {"src": record.did, "uri": record.uri, "cid": record.cid}
    cts = from_micros(record.created_at)
    return b",".join(orjson.dumps({**same, "val": label["val"], "cts": cts}) for label in labels["values"])
