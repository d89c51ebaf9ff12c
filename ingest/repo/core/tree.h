/* A part of a tree whose nodes are loaded when a walk needs them.

   Nodes are changed in place, since the tree ends with the call. Once `failed` is set it is thrown away. A NULL node with
   `failed` unset is "nothing there". What returns int gives 0 when it failed. */

#ifndef HEADRACE_TREE_H
#define HEADRACE_TREE_H

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

Kid *kid_at(Node *node, int i);
int is_nothing(const Kid *kid);
/* How many of a node's keys lie left of `key`. */
int place_of(const Node *node, const uint8_t *key, size_t size);
int holds(const Node *node, int i, const uint8_t *key, size_t size);
Node *tree_root(Tree *tree);
/* Child i, loaded and kept; its keys must lie between its neighbours. */
Node *tree_kid_of(Tree *tree, Node *node, int i);
Node *tree_make_leaf(Tree *tree, int height, const Entry *entry);
/* A chain of keyless nodes from `height` down to `node`. */
Node *tree_lift(Tree *tree, Node *node, int height);
/* Cut a subtree in two at a key that it does not hold. 0 when that failed. */
int tree_split(Tree *tree, Node *node, const uint8_t *key, size_t size, Node **before, Node **after);
/* Kid i of one node and kid j of another, neighbours of one layer, as one; neither is loaded when one is nothing. */
int tree_merge(Tree *tree, Node *one, int i, Node *other, int j, Kid *merged);
/* Hang `child` (changed, or nothing) below the path, and leave the root as the rules want it. */
int tree_relink(Tree *tree, const Step *path, int length, Node *child);

#endif
