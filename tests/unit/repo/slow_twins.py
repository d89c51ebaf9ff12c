"""Plain, slow definitions beside the fast code: they share none of it but CIDs and the CBOR encoder."""

from __future__ import annotations

from hashlib import sha256

from schemas import cbor
from schemas.cid import Cid


def very_slow_height(key: str) -> int:
    bits = "".join(f"{byte:08b}" for byte in sha256(key.encode()).digest())
    return (len(bits) - len(bits.lstrip("0"))) // 2


def very_slow_tree(records: dict[str, Cid]) -> tuple[Cid, dict[bytes, bytes]]:
    """Root and nodes, from the definition: a layer is cut by the keys that belong to it."""
    blocks: dict[bytes, bytes] = {}

    def store(entries: list[dict[str, object]], left: Cid | None) -> Cid:
        data = cbor.encode({"e": entries, "l": left})
        cid = Cid.of_cbor(data)
        blocks[cid.raw] = data
        return cid

    def build(keys: list[str], layer: int) -> Cid | None:
        if not keys:
            return None
        groups: list[list[str]] = [[]]
        own: list[str] = []
        for key in keys:
            if very_slow_height(key) == layer:
                own.append(key)
                groups.append([])
            else:
                groups[-1].append(key)
        entries: list[dict[str, object]] = []
        before = ""
        for key, group in zip(own, groups[1:], strict=True):
            shared = 0
            while shared < min(len(before), len(key)) and before[shared] == key[shared]:
                shared += 1
            suffix = key[shared:].encode()
            entries.append({"k": suffix, "p": shared, "t": build(group, layer - 1), "v": records[key]})
            before = key
        return store(entries, build(groups[0], layer - 1))

    if not records:
        return store([], None), blocks
    root = build(sorted(records), max(map(very_slow_height, records)))
    assert root is not None
    return root, blocks


def very_slow_mst_diff(
    a: dict[str, Cid], b: dict[str, Cid]
) -> tuple[list[tuple[str, Cid | None, Cid | None]], set[bytes], set[bytes]]:
    """Changes, created and deleted nodes, from whole sets of records."""
    nodes_a, nodes_b = set(very_slow_tree(a)[1]), set(very_slow_tree(b)[1])
    changes = [(key, a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    return changes, nodes_b - nodes_a, nodes_a - nodes_b
