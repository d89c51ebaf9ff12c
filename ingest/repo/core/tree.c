/* A part of a tree in memory: the walk to a node, cut and join (the twins: ingest/repo/mst.py and mst_seam.py). */

#include "tree.h"

static void *fail(Tree *tree) {
    tree->failed = 1;
    return NULL;
}

Kid *kid_at(Node *node, int i) { return i ? &node->entries[i - 1].kid : &node->left; }

int is_nothing(const Kid *kid) { return !kid->node && !kid->cid; }

static int compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_entry(const Entry *entry, const uint8_t *key, size_t size) {
    return compare(entry->key, entry->key_size, key, size);
}

/* How many of a node's keys lie left of `key`. */
int place_of(const Node *node, const uint8_t *key, size_t size) {
    int low = 0, high = node->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (compare_entry(node->entries + middle, key, size) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int holds(const Node *node, int i, const uint8_t *key, size_t size) {
    return i < node->count && !compare_entry(node->entries + i, key, size);
}

static Node *load(Tree *tree, const uint8_t *cid, int height) {
    PyObject *name = PyBytes_FromStringAndSize((const char *)cid, CID_SIZE);
    if (!name)
        return fail(tree);
    PyObject *block = PyObject_CallOneArg(tree->load, name);
    Py_DECREF(name);
    if (!block) {
        if (PyErr_ExceptionMatches(PyExc_KeyError))
            tree->missing = cid;
        if (PyErr_ExceptionMatches(PyExc_Exception))
            PyErr_Clear(); /* the twin asks again, and whoever asked it is told */
        return fail(tree);
    }
    int kept = PyBytes_CheckExact(block) && !PyList_Append(tree->blocks, block);
    Node *node = kept ? arena_take(&tree->arena, sizeof(Node)) : NULL;
    if (node && node_parse(&tree->arena, node, (const uint8_t *)PyBytes_AS_STRING(block),
                           (size_t)PyBytes_GET_SIZE(block), height))
        memcpy(node->cid, cid, CID_SIZE);
    else
        node = fail(tree);
    Py_DECREF(block);
    return node;
}

Node *tree_root(Tree *tree) {
    if (!tree->top)
        tree->top = load(tree, tree->top_cid, -1);
    return tree->top;
}

/* Child i, loaded and kept; its keys must lie between its neighbours. */
Node *tree_kid_of(Tree *tree, Node *node, int i) {
    Kid *kid = kid_at(node, i);
    if (kid->node || !kid->cid)
        return kid->node;
    Node *child = load(tree, kid->cid, node->height - 1);
    if (!child)
        return NULL;
    if (child->count) {
        const Entry *first = child->entries, *last = child->entries + child->count - 1;
        if ((i && compare_entry(first, node->entries[i - 1].key, node->entries[i - 1].key_size) <= 0) ||
            (i < node->count && compare_entry(last, node->entries[i].key, node->entries[i].key_size) >= 0))
            return fail(tree);
    }
    *kid = (Kid){child, NULL};
    return child;
}

static Node *make(Tree *tree, int height, int count) {
    Node *node = arena_take(&tree->arena, sizeof(Node));
    Entry *entries = arena_take(&tree->arena, sizeof(Entry) * (size_t)(count ? count : 1));
    if (!node || !entries)
        return fail(tree);
    *node = (Node){.height = height, .count = count, .room = count, .entries = entries};
    return node;
}

Node *tree_make_leaf(Tree *tree, int height, const Entry *entry) {
    Node *node = make(tree, height, 1);
    if (node)
        node->entries[0] = *entry;
    return node;
}

/* A chain of keyless nodes from `height` down to `node`. */
Node *tree_lift(Tree *tree, Node *node, int height) {
    while (node && node->height < height) {
        Node *above = make(tree, node->height + 1, 0);
        if (above)
            above->left.node = node;
        node = above;
    }
    return node;
}

/* Cut a subtree in two at a key that it does not hold. 0 when that failed. */
int tree_split(Tree *tree, Node *node, const uint8_t *key, size_t size, Node **before, Node **after) {
    int i = place_of(node, key, size);
    Node *child = tree_kid_of(tree, node, i), *left = NULL, *right = NULL;
    if (tree->failed || (child && !tree_split(tree, child, key, size, &left, &right)))
        return 0;
    *before = i == node->count && !right ? node : NULL;
    *after = !*before && i == 0 && !left ? node : NULL;
    if (*before || *after)
        return 1;
    *before = make(tree, node->height, i);
    *after = make(tree, node->height, node->count - i);
    if (!*before || !*after)
        return 0;
    memcpy((*before)->entries, node->entries, sizeof(Entry) * (size_t)i);
    memcpy((*after)->entries, node->entries + i, sizeof(Entry) * (size_t)(node->count - i));
    (*before)->left = node->left;
    *kid_at(*before, i) = (Kid){left, NULL};
    (*after)->left = (Kid){right, NULL};
    if (i)
        (*before)->entries[i - 1].chunk = NULL;
    if (i < node->count)
        (*after)->entries[0].chunk = NULL;
    return 1;
}

/* Kid i of one node and kid j of another, neighbours of one layer, as one; neither is loaded when one is nothing. */
int tree_merge(Tree *tree, Node *one, int i, Node *other, int j, Kid *merged) {
    if (is_nothing(kid_at(one, i))) {
        *merged = *kid_at(other, j);
        return 1;
    }
    if (is_nothing(kid_at(other, j))) {
        *merged = *kid_at(one, i);
        return 1;
    }
    Node *left = tree_kid_of(tree, one, i);
    Node *right = left ? tree_kid_of(tree, other, j) : NULL;
    Kid middle;
    if (!right || !tree_merge(tree, left, left->count, right, 0, &middle))
        return 0;
    Node *node = make(tree, left->height, left->count + right->count);
    if (!node)
        return 0;
    memcpy(node->entries, left->entries, sizeof(Entry) * (size_t)left->count);
    memcpy(node->entries + left->count, right->entries, sizeof(Entry) * (size_t)right->count);
    node->left = left->left;
    *kid_at(node, left->count) = middle;
    if (left->count)
        node->entries[left->count - 1].chunk = NULL;
    if (right->count)
        node->entries[left->count].chunk = NULL;
    *merged = (Kid){node, NULL};
    return 1;
}

/* Hang `child` (changed, or nothing) below the path, and leave the root as the rules want it. */
int tree_relink(Tree *tree, const Step *path, int length, Node *child) {
    while (length--) {
        Node *node = path[length].node;
        int i = path[length].at;
        *kid_at(node, i) = (Kid){child, NULL};
        if (i)
            node->entries[i - 1].chunk = NULL;
        node->clean = 0;
        child = child || node->count ? node : NULL;
    }
    while (child && !child->count) {
        tree->missing = NULL;
        Node *below = tree_kid_of(tree, child, 0);
        if (tree->failed) {
            if (!tree->missing)
                return 0;
            tree->failed = 0; /* whether it should be cut too, the root that is expected will tell */
            tree->top = NULL;
            tree->top_cid = tree->missing;
            return 1;
        }
        child = below;
    }
    if (!child && !(child = make(tree, 0, 0)))
        return 0;
    tree->top = child;
    return 1;
}
