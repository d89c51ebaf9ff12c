/* Memory that lives as long as one call: taken piece by piece, freed at once, bounded. */

#include "core.h"

enum { CHUNK = 32 << 10 };

struct Chunk {
    Chunk *before;
    size_t room;
    max_align_t bytes[];
};

void *arena_take(Arena *arena, size_t size) {
    if (size > ARENA_MAX)
        return NULL;
    size = (size + 15) & ~(size_t)15;
    if (!arena->chunks || arena->chunks->room - arena->used < size) {
        size_t room = size > CHUNK ? size : CHUNK;
        if (arena->total + room > ARENA_MAX)
            return NULL;
        Chunk *chunk = PyMem_Malloc(sizeof(Chunk) + room);
        if (!chunk)
            return NULL;
        chunk->before = arena->chunks;
        chunk->room = room;
        arena->chunks = chunk;
        arena->used = 0;
        arena->total += room;
    }
    void *taken = (uint8_t *)arena->chunks->bytes + arena->used;
    arena->used += size;
    return taken;
}

void arena_free(Arena *arena) {
    while (arena->chunks) {
        Chunk *before = arena->chunks->before;
        PyMem_Free(arena->chunks);
        arena->chunks = before;
    }
}
