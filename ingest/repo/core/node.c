/* One node of a Merkle Search Tree: canonical bytes in, entries out, and back (the rules: ingest/repo/mst_node.py). */

#include "core.h"

static const uint8_t LINK[] = {0xd8, 0x2a, 0x58, 0x25, 0x00};
enum { LINK_SIZE = sizeof LINK, WHOLE_LINK = LINK_SIZE + CID_SIZE };

typedef struct {
    const uint8_t *at, *end;
} Reader;

/* What a key may hold: letters, digits and . _ : ~ - on both sides of one slash. */
static const uint8_t KEY_BYTE[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['.'] = 1, ['_'] = 1, [':'] = 1, ['~'] = 1, ['-'] = 1,
    ['/'] = 2,
};

static int take_bytes(Reader *in, const char *bytes, size_t size) {
    if ((size_t)(in->end - in->at) < size || memcmp(in->at, bytes, size))
        return 0;
    in->at += size;
    return 1;
}

/* A head of one major type whose integer is below 65,536 and in its shortest form; -1 for any other. */
static int32_t take_head(Reader *in, uint8_t major) {
    if (in->at == in->end || (*in->at & 0xe0) != major)
        return -1;
    int32_t value = *in->at & 0x1f;
    if (value < 24) {
        in->at += 1;
        return value;
    }
    if (value == 24 && in->end - in->at >= 2 && (value = in->at[1]) >= 24) {
        in->at += 2;
        return value;
    }
    if (*in->at == (major | 25) && in->end - in->at >= 3 && (value = in->at[1] << 8 | in->at[2]) >= 256) {
        in->at += 3;
        return value;
    }
    return -1;
}

int is_link_target(const uint8_t *cid, int any) {
    return cid[0] == 1 && (cid[1] == 0x71 || (any && cid[1] == 0x55)) && cid[2] == 0x12 && cid[3] == 0x20;
}

static const uint8_t *take_link(Reader *in, int any) {
    if (in->end - in->at < WHOLE_LINK || memcmp(in->at, LINK, LINK_SIZE) || !is_link_target(in->at + LINK_SIZE, any))
        return NULL;
    in->at += WHOLE_LINK;
    return in->at - CID_SIZE;
}

/* A node's link or null. */
static int take_kid(Reader *in, Kid *kid) {
    *kid = (Kid){NULL, NULL};
    if (in->at < in->end && *in->at == 0xf6) {
        in->at += 1;
        return 1;
    }
    return (kid->cid = take_link(in, 0)) != NULL;
}

int layer_of(const uint8_t *key, size_t size) {
    uint8_t digest[DIGEST_SIZE];
    sha256(key, size, digest);
    int layer = 0;
    for (int i = 0; i < DIGEST_SIZE; i++, layer += 4)
        if (digest[i])
            return layer + (digest[i] < 4 ? 3 : digest[i] < 16 ? 2 : digest[i] < 64 ? 1 : 0);
    return layer;
}

static int is_key(const uint8_t *key, size_t size) {
    size_t slash = 0;
    int slashes = 0;
    for (size_t i = 0; i < size; i++) {
        uint8_t kind = KEY_BYTE[key[i]];
        if (!kind)
            return 0;
        if (kind == 2) {
            slash = i;
            slashes++;
        }
    }
    return slashes == 1 && slash > 0 && slash < size - 1 && size <= KEY_MAX;
}

static int parse_entry(Arena *arena, Reader *in, Entry *entry, const Entry *before) {
    entry->chunk = in->at;
    if (!take_bytes(in, "\xa4\x61k", 3))
        return 0;
    int32_t suffix_size = take_head(in, 0x40);
    if (suffix_size < 1 || in->end - in->at < suffix_size)
        return 0;
    const uint8_t *suffix = in->at;
    in->at += suffix_size;
    if (!take_bytes(in, "\x61p", 2))
        return 0;
    int32_t shared = take_head(in, 0x00);
    if (shared < 0 || shared + suffix_size > KEY_MAX)
        return 0;
    if (!before) {
        if (shared)
            return 0;
    } else if ((uint32_t)shared > before->key_size ||
               ((uint32_t)shared < before->key_size && suffix[0] <= before->key[shared])) {
        return 0; /* out of order, or more is shared than p says */
    }
    entry->key = suffix;
    entry->key_size = (uint32_t)(shared + suffix_size);
    if (shared) {
        uint8_t *key = arena_take(arena, entry->key_size);
        if (!key)
            return 0;
        memcpy(key, before->key, (size_t)shared);
        memcpy(key + shared, suffix, (size_t)suffix_size);
        entry->key = key;
    }
    if (!is_key(entry->key, entry->key_size) || !take_bytes(in, "\x61t", 2) || !take_kid(in, &entry->kid) ||
        !take_bytes(in, "\x61v", 2) || !(entry->value = take_link(in, 1)))
        return 0;
    entry->chunk_size = (uint32_t)(in->at - entry->chunk);
    return 1;
}

int node_parse(Arena *arena, Node *node, const uint8_t *data, size_t size, int height) {
    Reader in = {data, data + size};
    if (size > UINT32_MAX || !take_bytes(&in, "\xa2\x61"
                                               "e",
                                         3))
        return 0;
    int32_t count = take_head(&in, 0x80);
    if (count < 0 || count > NODE_ENTRIES_MAX)
        return 0;
    node->count = node->room = count;
    node->clean = 1;
    node->entries = arena_take(arena, sizeof(Entry) * (size_t)(count ? count : 1));
    if (!node->entries)
        return 0;
    for (int i = 0; i < count; i++) {
        Entry *entry = node->entries + i;
        if (!parse_entry(arena, &in, entry, i ? entry - 1 : NULL))
            return 0;
        int layer = layer_of(entry->key, entry->key_size);
        if (height < 0)
            height = layer;
        if (layer != height || (height == 0 && entry->kid.cid))
            return 0;
    }
    if (!take_bytes(&in, "\x61l", 2) || !take_kid(&in, &node->left) || in.at != in.end)
        return 0;
    if (!count && (!node->left.cid || height < 1))
        return 0; /* the empty tree, and what stands where no node may: for the twin */
    if (height == 0 && node->left.cid)
        return 0;
    node->height = height;
    return 1;
}

static uint8_t *put_head(uint8_t *out, uint8_t major, uint32_t value) {
    if (value < 24) {
        *out++ = (uint8_t)(major | value);
    } else if (value < 256) {
        *out++ = major | 24;
        *out++ = (uint8_t)value;
    } else {
        *out++ = major | 25;
        *out++ = (uint8_t)(value >> 8);
        *out++ = (uint8_t)value;
    }
    return out;
}

static uint8_t *put(uint8_t *out, const void *bytes, size_t size) {
    memcpy(out, bytes, size);
    return out + size;
}

static uint8_t *put_kid(uint8_t *out, const Kid *kid) {
    const uint8_t *cid = kid->node ? kid->node->cid : kid->cid;
    if (!cid) {
        *out++ = 0xf6;
        return out;
    }
    return put(put(out, LINK, LINK_SIZE), cid, CID_SIZE);
}

uint8_t *entry_encode(uint8_t *out, const Entry *entry, const uint8_t *before, uint32_t before_size) {
    uint32_t shared = 0;
    while (shared < before_size && shared < entry->key_size && before[shared] == entry->key[shared])
        shared++;
    out = put_head(put(out, "\xa4\x61k", 3), 0x40, entry->key_size - shared);
    out = put(out, entry->key + shared, entry->key_size - shared);
    out = put_head(put(out, "\x61p", 2), 0x00, shared);
    out = put_kid(put(out, "\x61t", 2), &entry->kid);
    return put(put(put(out, "\x61v", 2), LINK, LINK_SIZE), entry->value, CID_SIZE);
}

size_t node_encode(Arena *arena, const Node *node, uint8_t **buffer, size_t *room) {
    size_t most = 16 + WHOLE_LINK;
    if (node->count >= 1 << 16)
        return 0;
    for (int i = 0; i < node->count; i++)
        most += node->entries[i].chunk ? node->entries[i].chunk_size : ENTRY_ROOM + node->entries[i].key_size;
    if (most > *room) {
        size_t wanted = most * 2;
        uint8_t *larger = arena_take(arena, wanted);
        if (!larger)
            return 0;
        *buffer = larger;
        *room = wanted;
    }
    uint8_t *out = put(*buffer, "\xa2\x61"
                                "e",
                       3);
    out = put_head(out, 0x80, (uint32_t)node->count);
    const uint8_t *before = NULL;
    uint32_t before_size = 0;
    for (int i = 0; i < node->count; i++) {
        const Entry *entry = node->entries + i;
        out = entry->chunk ? put(out, entry->chunk, entry->chunk_size) : entry_encode(out, entry, before, before_size);
        before = entry->key;
        before_size = entry->key_size;
    }
    out = put_kid(put(out, "\x61l", 2), &node->left);
    return (size_t)(out - *buffer);
}
