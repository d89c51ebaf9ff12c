"""One node of a Merkle Search Tree: its shape in memory and its canonical bytes, both ways.

Source: https://atproto.com/specs/repository#mst-structure. Keys are bytes, CIDs are their binary form.
Does not own the tree's operations (`ingest.repo.mst`) nor the order of keys between nodes that are not neighbours.

Rule 1: a node with a `cid` is clean and is never changed; `own` gives a copy that may be. (A child's CID in `kids` may
be replaced by the child itself: that changes nothing that can be seen.)
Rule 2: in a dirty node `chunks[i]` is entry i encoded, or None. Whoever changes key i-1, key i, value i or child i+1
sets it to None.
Rule 3: what has a dirty child is dirty.
"""

from __future__ import annotations

import re
from hashlib import sha256
from operator import itemgetter
from typing import Any

import libipld

from ingest.repo import core
from ingest.repo.reasons import RepoReason
from ingest.repo.wire import LINK, head, link
from schemas import cbor, limits
from schemas.cid import CBOR_PREFIX, Cid
from schemas.errors import Refused

EMPTY = b"\xa2ae\x80al\xf6"
NODE_CID = CBOR_PREFIX
KEY_MAX = 1_024  # bytes; specs/repository, the reference's isValidMstKey


class Node:
    """`kids[i]` lies left of `keys[i]`, so there is one kid more than keys; a kid is a Node, a CID or nothing.

    A clean node has its bytes in `data`; one that was loaded has no `chunks` yet: `entries` makes them.
    """

    __slots__ = ("chunks", "cid", "data", "height", "keys", "kids", "vals")

    def __init__(  # noqa: PLR0917 - made millions of times; keywords cost
        self,
        height: int,
        keys: list[bytes],
        vals: list[bytes],
        kids: list[Node | bytes | None],
        chunks: list[bytes | None],
        cid: bytes | None = None,
        data: bytes = b"",
    ) -> None:
        self.height = height
        self.keys = keys
        self.vals = vals
        self.kids = kids
        self.chunks = chunks
        self.cid = cid
        self.data = data

    def own(self) -> Node:
        """Itself when dirty, else a dirty copy."""
        if self.cid is None:
            return self
        return Node(self.height, self.keys[:], self.vals[:], self.kids[:], self.entries())

    def entries(self) -> list[bytes | None]:
        """The entries encoded, in a list of the caller's own; None where that is still to be done."""
        if len(self.chunks) == len(self.keys):
            return self.chunks[:]
        found: list[bytes | None] = _ENTRIES(self.data)
        return found if len(found) == len(self.keys) else [None] * len(self.keys)


def height_of(key: bytes) -> int:
    """The layer of a key: leading zero bits of its SHA-256, two a layer."""
    return _layer(sha256(key).digest())


def _layer(digest: bytes) -> int:
    height = _BYTE_HEIGHT[digest[0]]
    return height if height < 4 else (256 - int.from_bytes(digest, "big").bit_length()) // 2


def common_prefix(left: bytes, right: bytes) -> int:
    """How many leading bytes two keys share."""
    size = min(len(left), len(right))
    left, right = left[:size], right[:size]
    if left == right:
        return size
    return size - ((int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).bit_length() + 7) // 8


def encode(node: Node) -> bytes:
    """The canonical bytes of a node whose kids all have CIDs. HOT."""
    if node.cid is not None:
        return node.data
    chunks = node.chunks
    kids = node.kids
    if None in chunks:
        keys = node.keys
        vals = node.vals
        i = -1
        try:
            while True:
                i = chunks.index(None, i + 1)
                chunks[i] = encode_entry(keys[i - 1] if i else b"", keys[i], vals[i], cid_of(kids[i + 1]))
        except ValueError:
            pass
    left = cid_of(kids[0])
    tail = b"al\xf6" if left is None else b"al" + LINK + left
    count = len(chunks)
    opening = b"\xa2ae" + (_ARRAY[count] if count < 24 else head(0x80, count))
    return opening + b"".join(chunks) + tail  # type: ignore[arg-type]  # no None is left


def cid_of(kid: Node | bytes | None) -> bytes | None:
    """The CID of a kid that is nothing, a CID or a clean node."""
    return kid.cid if isinstance(kid, Node) else kid


def decode(data: bytes, cid: bytes, height: int | None) -> Node:
    """Parse strictly. `height` is what the parent asks for; None at the root. Raises Refused. HOT."""
    if core.take_apart is not None:
        taken = core.take_apart(data, height)
        if taken is not None:
            keys, vals, kids, layer = taken
            return Node(layer, keys, vals, kids, [], cid, data)
    else:
        parts = take_apart(data, height)
        if parts is not None:
            return put_together(parts, data, cid)
    return decode_by_the_book(data, cid, height)


Parts = tuple[list[bytes], list[dict[str, Any]], "bytes | None", int]
"""Keys, entries as the codec gives them, leftmost child and layer."""


def put_together(parts: Parts, data: bytes, cid: bytes) -> Node:
    """The node of what `take_apart` gave."""
    keys, entries, left, layer = parts
    kids: list[Node | bytes | None] = [left]
    kids += map(_T, entries)
    return Node(layer, keys, list(map(_V, entries)), kids, [], cid, data)


def take_apart(data: bytes, height: int | None) -> Parts | None:
    """The parts of a canonical node that is not empty and has blessed CIDs alone; else None. HOT.

    The pattern holds the form of every byte but the lengths of keys; the fast codec reads by those lengths. Both must
    see the same entries: a key whose length were wrong would end inside key characters, where what follows is neither
    the text "p" nor, if it is, followed by an integer from 0 up.
    """
    if not _NODE(data):
        return None
    try:
        node = libipld.decode_dag_cbor(data)
        entries, left = node["e"], node["l"]
        if not entries:  # a link between layers, about one node in ten
            return ([], entries, left, height) if left is not None and height else None
        key = b""
        keys = []
        for suffix, at in map(_KP, entries):
            if key:
                if at < 0 or suffix[0] <= key[at]:  # IndexError where a key goes on where the last one ends: rare
                    return None
                key = key[:at] + suffix
            else:
                if at != 0:
                    return None
                key = suffix
            keys.append(key)
    except (ValueError, IndexError, TypeError, KeyError):
        return None
    if len(keys) > limits.MST_NODE_ENTRIES_MAX or not _KEYS(b"\n".join(keys)):
        return None
    digests = [sha256(key).digest() for key in keys]
    layers = set(map(_BYTE_HEIGHT.__getitem__, map(_FIRST, digests)))
    layer = layers.pop()
    if layer == 4 and not layers:  # the second byte tells four more; what lies above is one node in thousands
        layers = set(map(_BYTE_HEIGHT.__getitem__, map(_SECOND, digests)))
        layer = 4 + layers.pop()
        if layer == 8 and not layers:
            layers = set(map(_layer, digests))
            layer = layers.pop()
    if layers or (height is not None and layer != height):
        return None
    if layer == 0 and (left is not None or any(map(_T, entries))):
        return None
    return keys, entries, left, layer


def decode_by_the_book(data: bytes, cid: bytes, height: int | None) -> Node:
    """The definition of what `decode` accepts, field by field. Raises Refused with what is wrong."""
    try:
        value = cbor.decode(data)
    except Refused as error:
        raise Refused(RepoReason.NODE_ENCODING, f"not DAG-CBOR: {error.detail}") from error
    if not isinstance(value, dict) or value.keys() != {"e", "l"} or not isinstance(value["e"], list):
        raise Refused(RepoReason.NODE_ENCODING, "expected a map of the list e and the link l")
    if len(value["e"]) > limits.MST_NODE_ENTRIES_MAX:
        raise Refused(RepoReason.NODE_ENTRIES, f"{len(value['e'])} entries, at most {limits.MST_NODE_ENTRIES_MAX}")
    keys: list[bytes] = []
    vals: list[bytes] = []
    kids: list[Node | bytes | None] = [_node_link(value["l"])]
    previous = b""
    for entry in value["e"]:
        if not isinstance(entry, dict) or entry.keys() != {"k", "p", "t", "v"}:
            raise Refused(RepoReason.NODE_ENCODING, "expected entries of k, p, t and v")
        suffix, shared, leaf = entry["k"], entry["p"], entry["v"]
        if not isinstance(suffix, bytes) or type(shared) is not int or not isinstance(leaf, Cid):
            raise Refused(RepoReason.NODE_ENCODING, "expected k to be bytes, p an integer, v a link")
        if not 0 <= shared <= len(previous):
            raise Refused(RepoReason.NODE_PREFIX, f"p is {shared}, the key before has {len(previous)} bytes")
        key = previous[:shared] + suffix
        if key <= previous:
            raise Refused(RepoReason.NODE_ORDER, f"{key!r} does not come after {previous!r}")
        if shared != common_prefix(previous, key):
            raise Refused(RepoReason.NODE_PREFIX, f"p is {shared}, {key!r} shares more with {previous!r}")
        check_key(key)
        layer = height_of(key)
        if height is None:
            height = layer
        if layer != height:
            raise Refused(RepoReason.NODE_HEIGHT, f"{key!r} belongs to layer {layer}, found in layer {height}")
        keys.append(key)
        vals.append(bytes(leaf))
        kids.append(_node_link(entry["t"]))
        previous = key
    if not keys and kids[0] is None and height is not None:
        raise Refused(RepoReason.NODE_EMPTY, "an empty node stands only for an empty tree")
    if not keys and kids[0] is not None and height is None:
        raise Refused(RepoReason.NODE_EMPTY, "the root has a child and no keys: it should have been cut off")
    if not height and any(kids):
        raise Refused(RepoReason.NODE_HEIGHT, "a node of layer 0 has children")
    return Node(height or 0, keys, vals, kids, [], cid, data)


def check_key(key: bytes) -> None:
    """Raise Refused unless a key may stand in a tree: two parts, the record key's characters, 1,024 bytes at most."""
    if len(key) > KEY_MAX or b"\n" in key or not _KEYS(key):
        raise Refused(RepoReason.NODE_KEY, f"expected collection/rkey, found {key[:100]!r}")


def _node_link(value: object) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, Cid) or not value.raw.startswith(NODE_CID) or len(value.raw) != 36:
        raise Refused(RepoReason.NODE_ENCODING, "a child is linked by a CIDv1 of DAG-CBOR and SHA-256, or is null")
    return value.raw


def encode_entry(previous: bytes, key: bytes, value: bytes, kid: bytes | None) -> bytes:
    """The canonical bytes of one entry after the key `previous`. HOT."""
    if core.encode_entry is not None:
        found = core.encode_entry(previous, key, value, kid)
        if found is not None:
            return found
    shared = common_prefix(previous, key)
    suffix = key[shared:]
    size = len(suffix)
    return b"".join(
        (
            b"\xa4ak",
            _LENGTHS[size] if size < 256 else head(0x40, size),
            suffix,
            b"ap",
            head(0, shared),
            b"at\xf6av" if kid is None else b"at" + LINK + kid + b"av",
            link(value),
        )
    )


_BYTE_HEIGHT = [4 if byte == 0 else (8 - byte.bit_length()) // 2 for byte in range(256)]  # 4 = look further
_ARRAY = [head(0x80, n) for n in range(24)]
_LENGTHS = [head(0x40, n) for n in range(256)]
_KP, _T, _V = itemgetter("k", "p"), itemgetter("t"), itemgetter("v")
_FIRST, _SECOND = itemgetter(0), itemgetter(1)
_ENTRY = (
    rb"\xa4ak(?:[\x40-\x57]|X[\x18-\xff])[0-9A-Za-z._:~/-]*ap(?:[\x00-\x17]|\x18[\x18-\xff])"
    rb"at(?:\xf6|\xd8\x2aX%\x00\x01q\x12\x20.{32})av\xd8\x2aX%\x00\x01[qU]\x12\x20.{32}"
)
# A key's characters exclude every byte that an integer below 256 starts with, so there is one way to match.
_ENTRIES = re.compile(_ENTRY, re.DOTALL).findall
_NODE = re.compile(
    rb"\xa2ae(?:[\x80-\x97]|\x98[\x18-\xff])(?:" + _ENTRY + rb")*al(?:\xf6|\xd8\x2aX%\x00\x01q\x12\x20.{32})",
    re.DOTALL,
).fullmatch
_KEYS = re.compile(rb"(?:[0-9A-Za-z._:~-]+/[0-9A-Za-z._:~-]+(?:\n(?!\Z)|\Z))+").fullmatch
