"""Valid records of each kind that a test bends until they break."""

from __future__ import annotations

from typing import Any

from schemas.cid import Cid

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
NOW = "2026-01-02T03:04:05.678Z"
CID = Cid.of_cbor(b"record")
REF = {"uri": f"at://{DID}/app.bsky.feed.post/3kznmn7xqxl22", "cid": str(CID)}
FAMILY = "👩‍👩‍👦‍👦"  # one grapheme, 7 code points, 25 bytes


def blob(mime: str = "image/png", size: int = 1000) -> dict[str, Any]:
    return {"$type": "blob", "ref": Cid.of_raw(b"image"), "mimeType": mime, "size": size}


def post(**fields: Any) -> dict[str, Any]:
    return {"$type": "app.bsky.feed.post", "text": "hello", "createdAt": NOW, **fields}


def images(**fields: Any) -> dict[str, Any]:
    return {"$type": "app.bsky.embed.images", "images": [{"image": blob(), "alt": "an image", **fields}]}


def like(**fields: Any) -> dict[str, Any]:
    return {"$type": "app.bsky.feed.like", "subject": REF, "createdAt": NOW, **fields}


def profile(**fields: Any) -> dict[str, Any]:
    return {"$type": "app.bsky.actor.profile", **fields}


SAMPLES: list[dict[str, Any]] = [
    post(),
    post(
        reply={"root": REF, "parent": REF},
        langs=["en", "pt-BR"],
        tags=["one"],
        labels={"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "porn"}]},
        facets=[
            {
                "index": {"byteStart": 0, "byteEnd": 5},
                "features": [
                    {"$type": "app.bsky.richtext.facet#link", "uri": "https://example.com"},
                    {"$type": "app.bsky.richtext.facet#mention", "did": DID},
                    {"$type": "app.bsky.richtext.facet#tag", "tag": "tag"},
                ],
            }
        ],
        embed={
            "$type": "app.bsky.embed.recordWithMedia",
            "record": {"$type": "app.bsky.embed.record", "record": REF},
            "media": images(aspectRatio={"width": 4, "height": 3}),
        },
    ),
    like(via=REF),
    {"$type": "app.bsky.feed.repost", "subject": REF, "createdAt": NOW},
    {"$type": "app.bsky.graph.follow", "subject": DID, "createdAt": NOW},
    {"$type": "app.bsky.graph.block", "subject": DID, "createdAt": NOW},
    profile(displayName="Ada", avatar=blob(), pinnedPost=REF),
    {
        "$type": "app.bsky.graph.list",
        "purpose": "app.bsky.graph.defs#curatelist",
        "name": "list",
        "createdAt": NOW,
    },
    {
        "$type": "app.bsky.feed.threadgate",
        "post": REF["uri"],
        "allow": [{"$type": "app.bsky.feed.threadgate#mentionRule"}],
        "createdAt": NOW,
    },
]
