/* Operations taken back on a part of a tree: the twin of ingest/repo/invert.py `invert_by_tree`, on ingest/repo/mst.py.

   Nodes are changed in place, since the tree ends with the call. After `no answer` it is thrown away. A NULL node with
   `failed` unset is "nothing there". */

#include "core.h"

typedef struct {
    Arena arena;
    PyObject *load;
    PyObject *blocks; /* a list that keeps the loaded bytes alive */
    Node *top;
    const uint8_t *top_cid; /* with `top` NULL: where the root is not loaded */
    int failed;
    const uint8_t *missing; /* the block whose absence failed the last load */
    uint8_t *buffer;
    size_t room;
} Tree;

typedef struct {
    Node *node;
    int at;
} Step;

static void *fail(Tree *tree) {
    tree->failed = 1;
    return NULL;
}

static Kid *kid_at(Node *node, int i) { return i ? &node->entries[i - 1].kid : &node->left; }

static int is_nothing(const Kid *kid) { return !kid->node && !kid->cid; }

static int compare(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size) {
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_entry(const Entry *entry, const uint8_t *key, size_t size) {
    return compare(entry->key, entry->key_size, key, size);
}

/* How many of a node's keys lie left of `key`. */
static int place_of(const Node *node, const uint8_t *key, size_t size) {
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

static int holds(const Node *node, int i, const uint8_t *key, size_t size) {
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

static Node *root(Tree *tree) {
    if (!tree->top)
        tree->top = load(tree, tree->top_cid, -1);
    return tree->top;
}

/* Child i, loaded and kept; its keys must lie between its neighbours. */
static Node *kid_of(Tree *tree, Node *node, int i) {
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

static Node *make_leaf(Tree *tree, int height, const Entry *entry) {
    Node *node = make(tree, height, 1);
    if (node)
        node->entries[0] = *entry;
    return node;
}

/* A chain of keyless nodes from `height` down to `node`. */
static Node *lift(Tree *tree, Node *node, int height) {
    while (node && node->height < height) {
        Node *above = make(tree, node->height + 1, 0);
        if (above)
            above->left.node = node;
        node = above;
    }
    return node;
}

/* Cut a subtree in two at a key that it does not hold. 0 when that failed. */
static int split(Tree *tree, Node *node, const uint8_t *key, size_t size, Node **before, Node **after) {
    int i = place_of(node, key, size);
    Node *child = kid_of(tree, node, i), *left = NULL, *right = NULL;
    if (tree->failed || (child && !split(tree, child, key, size, &left, &right)))
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
static int merge(Tree *tree, Node *one, int i, Node *other, int j, Kid *merged) {
    if (is_nothing(kid_at(one, i))) {
        *merged = *kid_at(other, j);
        return 1;
    }
    if (is_nothing(kid_at(other, j))) {
        *merged = *kid_at(one, i);
        return 1;
    }
    Node *left = kid_of(tree, one, i);
    Node *right = left ? kid_of(tree, other, j) : NULL;
    Kid middle;
    if (!right || !merge(tree, left, left->count, right, 0, &middle))
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
static int relink(Tree *tree, const Step *path, int length, Node *child) {
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
        Node *below = kid_of(tree, child, 0);
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

static int make_room(Tree *tree, Node *node) {
    if (node->count < node->room)
        return 1;
    int room = node->count + 8;
    Entry *entries = arena_take(&tree->arena, sizeof(Entry) * (size_t)room);
    if (!entries)
        return 0;
    memcpy(entries, node->entries, sizeof(Entry) * (size_t)node->count);
    node->entries = entries;
    node->room = room;
    return 1;
}

/* Set a key. *before is what it was, NULL when it was absent. 0 when that failed. */
static int insert(Tree *tree, const Entry *new, const uint8_t **before) {
    const uint8_t *key = new->key;
    const size_t size = new->key_size;
    const int height = layer_of(key, size);
    Step path[LAYERS + 1];
    int length = 0;
    *before = NULL;
    Node *node = root(tree);
    if (!node)
        return 0;
    if (!node->count && is_nothing(&node->left))
        return (tree->top = make_leaf(tree, height, new)) != NULL;
    if (height > node->height) {
        Node *left, *right, *top;
        if (!split(tree, node, key, size, &left, &right) || !(top = make_leaf(tree, height, new)))
            return 0;
        top->left.node = lift(tree, left, height - 1);
        top->entries[0].kid.node = lift(tree, right, height - 1);
        tree->top = top;
        return !tree->failed;
    }
    while (node->height > height) {
        path[length++] = (Step){node, place_of(node, key, size)};
        Node *child = kid_of(tree, node, path[length - 1].at);
        if (!child) {
            if (!tree->failed)
                child = lift(tree, make_leaf(tree, height, new), node->height - 1);
            return child && relink(tree, path, length, child);
        }
        node = child;
    }
    int i = place_of(node, key, size);
    if (holds(node, i, key, size)) {
        *before = node->entries[i].value;
        if (!memcmp(*before, new->value, CID_SIZE))
            return 1;
        node->entries[i].value = new->value;
        node->entries[i].chunk = NULL;
    } else {
        Node *child = kid_of(tree, node, i), *left = NULL, *right = NULL;
        if (tree->failed || (child && !split(tree, child, key, size, &left, &right)) || !make_room(tree, node))
            return 0;
        *kid_at(node, i) = (Kid){left, NULL};
        if (i)
            node->entries[i - 1].chunk = NULL;
        if (i < node->count)
            node->entries[i].chunk = NULL;
        memmove(node->entries + i + 1, node->entries + i, sizeof(Entry) * (size_t)(node->count - i));
        node->entries[i] = *new;
        node->entries[i].kid.node = right;
        node->count++;
    }
    node->clean = 0;
    return relink(tree, path, length, node);
}

/* Take a key away. *before is what it was, NULL when it was absent. 0 when that failed. */
static int take_out(Tree *tree, const Entry *gone, const uint8_t **before) {
    const uint8_t *key = gone->key;
    const size_t size = gone->key_size;
    Step path[LAYERS + 1];
    int length = 0, i;
    *before = NULL;
    Node *node = root(tree);
    if (!node)
        return 0;
    while (i = place_of(node, key, size), !holds(node, i, key, size)) {
        path[length++] = (Step){node, i};
        node = kid_of(tree, node, i);
        if (!node)
            return !tree->failed;
    }
    *before = node->entries[i].value;
    Kid merged;
    if (!merge(tree, node, i, node, i + 1, &merged))
        return 0;
    memmove(node->entries + i, node->entries + i + 1, sizeof(Entry) * (size_t)(node->count - i - 1));
    node->count--;
    *kid_at(node, i) = merged;
    if (i)
        node->entries[i - 1].chunk = NULL;
    if (i < node->count)
        node->entries[i].chunk = NULL;
    node->clean = 0;
    return relink(tree, path, length, node->count || !is_nothing(&merged) ? node : NULL);
}

/* Give every changed node its CID, children first. 0 when that failed. */
static int name(Tree *tree, Node *node) {
    if (node->clean)
        return 1;
    for (int i = 0; i <= node->count; i++) {
        Kid *kid = kid_at(node, i);
        if (kid->node && !name(tree, kid->node))
            return 0;
    }
    size_t size = node_encode(&tree->arena, node, &tree->buffer, &tree->room);
    if (!size)
        return 0;
    memcpy(node->cid, "\x01\x71\x12\x20", 4);
    sha256(tree->buffer, size, node->cid + 4);
    node->clean = 1;
    return 1;
}

/* A CID of the argument's change: 1 with *cid set, or NULL for None; 0 when it is of a form that the twin has to judge. */
static int take_cid(PyObject *value, const uint8_t **cid) {
    *cid = NULL;
    if (value == Py_None)
        return 1;
    if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) != CID_SIZE)
        return 0;
    *cid = (const uint8_t *)PyBytes_AS_STRING(value);
    return is_link_target(*cid, 1);
}

static int take_back(Tree *tree, PyObject *change) {
    const uint8_t *new, *old, *found;
    Py_ssize_t size;
    if (!PyTuple_CheckExact(change) || PyTuple_GET_SIZE(change) != 3 || !PyUnicode_CheckExact(PyTuple_GET_ITEM(change, 0)) ||
        !take_cid(PyTuple_GET_ITEM(change, 1), &new) || !take_cid(PyTuple_GET_ITEM(change, 2), &old))
        return 0;
    const char *key = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(change, 0), &size);
    if (!key || size < 1 || size > KEY_MAX) {
        PyErr_Clear(); /* text that is no UTF-8 */
        return 0;
    }
    Entry entry = {.key = (const uint8_t *)key, .key_size = (uint32_t)size, .value = old};
    if (!(old ? insert(tree, &entry, &found) : take_out(tree, &entry, &found)))
        return 0;
    return new && found ? !memcmp(new, found, CID_SIZE) : !new && !found;
}

/* invert(root, load, changes): the root before them, or None for no answer. */
PyObject *core_invert(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    const uint8_t *data;
    if (count != 3 || !take_cid(arguments[0], &data) || !data || !PyTuple_CheckExact(arguments[2]))
        Py_RETURN_NONE;
    Tree tree = {.load = arguments[1], .top_cid = data, .blocks = PyList_New(0)};
    if (!tree.blocks)
        return NULL;
    int held = 1;
    PyObject *answer = NULL;
    for (Py_ssize_t i = 0; held && i < PyTuple_GET_SIZE(arguments[2]); i++)
        held = take_back(&tree, PyTuple_GET_ITEM(arguments[2], i));
    if (held && (!tree.top || name(&tree, tree.top)))
        answer = PyBytes_FromStringAndSize((const char *)(tree.top ? tree.top->cid : tree.top_cid), CID_SIZE);
    arena_free(&tree.arena);
    Py_DECREF(tree.blocks);
    if (answer || PyErr_Occurred())
        return answer;
    Py_RETURN_NONE;
}
