/* Operations taken back on a part of a tree: the twin of ingest/repo/invert.py `invert_by_tree`. */

#include "tree.h"

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
    Node *node = tree_root(tree);
    if (!node)
        return 0;
    if (!node->count && is_nothing(&node->left))
        return (tree->top = tree_make_leaf(tree, height, new)) != NULL;
    if (height > node->height) {
        Node *left, *right, *top;
        if (!tree_split(tree, node, key, size, &left, &right) || !(top = tree_make_leaf(tree, height, new)))
            return 0;
        top->left.node = tree_lift(tree, left, height - 1);
        top->entries[0].kid.node = tree_lift(tree, right, height - 1);
        tree->top = top;
        return !tree->failed;
    }
    while (node->height > height) {
        path[length++] = (Step){node, place_of(node, key, size)};
        Node *child = tree_kid_of(tree, node, path[length - 1].at);
        if (!child) {
            if (!tree->failed)
                child = tree_lift(tree, tree_make_leaf(tree, height, new), node->height - 1);
            return child && tree_relink(tree, path, length, child);
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
        Node *child = tree_kid_of(tree, node, i), *left = NULL, *right = NULL;
        if (tree->failed || (child && !tree_split(tree, child, key, size, &left, &right)) || !make_room(tree, node))
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
    return tree_relink(tree, path, length, node);
}

/* Take a key away. *before is what it was, NULL when it was absent. 0 when that failed. */
static int take_out(Tree *tree, const Entry *gone, const uint8_t **before) {
    const uint8_t *key = gone->key;
    const size_t size = gone->key_size;
    Step path[LAYERS + 1];
    int length = 0, i;
    *before = NULL;
    Node *node = tree_root(tree);
    if (!node)
        return 0;
    while (i = place_of(node, key, size), !holds(node, i, key, size)) {
        path[length++] = (Step){node, i};
        node = tree_kid_of(tree, node, i);
        if (!node)
            return !tree->failed;
    }
    *before = node->entries[i].value;
    Kid merged;
    if (!tree_merge(tree, node, i, node, i + 1, &merged))
        return 0;
    memmove(node->entries + i, node->entries + i + 1, sizeof(Entry) * (size_t)(node->count - i - 1));
    node->count--;
    *kid_at(node, i) = merged;
    if (i)
        node->entries[i - 1].chunk = NULL;
    if (i < node->count)
        node->entries[i].chunk = NULL;
    node->clean = 0;
    return tree_relink(tree, path, length, node->count || !is_nothing(&merged) ? node : NULL);
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
