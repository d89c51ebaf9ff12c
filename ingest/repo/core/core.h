/* The compiled core of ingest/repo: strict nodes, inversion and CAR sections. What each gives stands in core/__init__.py.

   Rule 1: whatever is not as it should be gives "no answer", never a reason: the twin in Python is asked again and names
   it. So nothing here may accept what the twin refuses.
   Rule 2: nothing here outlives a call but the module itself.
   Rule 3: no length is believed before it is compared with what is there. */

#ifndef HEADRACE_CORE_H
#define HEADRACE_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    CID_SIZE = 36,
    DIGEST_SIZE = 32,
    KEY_MAX = 1024,         /* mst_node.KEY_MAX */
    NODE_ENTRIES_MAX = 155, /* limits.MST_NODE_ENTRIES_MAX */
    LAYERS = 128,           /* a SHA-256 has 256 bits, two a layer */
    ARENA_MAX = 64 << 20,   /* bytes of one inversion; beyond it there is no answer */
};

/* sha256.c */
void sha256_choose(void);
void sha256(const uint8_t *data, size_t size, uint8_t digest[DIGEST_SIZE]);
void sha256_by_the_book(const uint8_t *data, size_t size, uint8_t digest[DIGEST_SIZE]);

/* arena.c: memory that lives as long as one call */
typedef struct Chunk Chunk;
typedef struct {
    Chunk *chunks;
    size_t used, total;
} Arena;

void *arena_take(Arena *arena, size_t size); /* NULL when there is no more */
void arena_free(Arena *arena);

/* node.c: `chunk` is an entry's canonical bytes where they are known; `kid` lies right of the entry's key */
typedef struct Node Node;
typedef struct {
    Node *node;         /* loaded or made, else NULL */
    const uint8_t *cid; /* where it is not loaded; NULL with `node` NULL: nothing */
} Kid;

typedef struct {
    const uint8_t *key, *value, *chunk;
    uint32_t key_size, chunk_size;
    Kid kid;
} Entry;

struct Node {
    int height, count, room;
    int clean; /* `cid` is that of what the node says */
    Kid left;
    Entry *entries;
    uint8_t cid[CID_SIZE];
};

int layer_of(const uint8_t *key, size_t size);
int is_link_target(const uint8_t *cid, int any); /* the prefix of a node's CID; with `any` of a record's or blob's */

/* Fill `node` from canonical bytes, which must outlive it. `height` is -1 at the root. 1 on success, 0 for no answer. */
int node_parse(Arena *arena, Node *node, const uint8_t *data, size_t size, int height);

/* The canonical bytes of one entry behind the key `before`, into `out`, which has ENTRY_ROOM and the key's size of room.
   The end of them. */
enum { ENTRY_ROOM = 24 + 2 * (5 + CID_SIZE) };
uint8_t *entry_encode(uint8_t *out, const Entry *entry, const uint8_t *before, uint32_t before_size);

/* The canonical bytes of a node whose kids all have CIDs, into *buffer of *room bytes, which grows. Their size; 0: none */
size_t node_encode(Arena *arena, const Node *node, uint8_t **buffer, size_t *room);

/* invert.c, car.c: functions of the module */
PyObject *core_invert(PyObject *module, PyObject *const *arguments, Py_ssize_t count);
PyObject *core_read_blocks(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

#endif
