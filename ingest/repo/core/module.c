/* The module: its functions, and from which source it was compiled. */

#include "core.h"

#ifndef SOURCE
#define SOURCE ""
#endif

static PyObject *kid_object(const Kid *kid) {
    if (!kid->cid)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)kid->cid, CID_SIZE);
}

/* Put a new reference into a list; 0 when there is none. */
static int set(PyObject *list, Py_ssize_t i, PyObject *item) {
    if (item)
        PyList_SET_ITEM(list, i, item);
    return item != NULL;
}

/* take_apart(data, height): keys, values, kids and layer, or None for no answer. */
static PyObject *core_take_apart(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyBytes_CheckExact(arguments[0]))
        Py_RETURN_NONE;
    long height = arguments[1] == Py_None ? -1 : PyLong_AsLong(arguments[1]);
    if (arguments[1] != Py_None && (height < 0 || height > LAYERS)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    Arena arena = {0};
    Node node = {0};
    PyObject *keys = NULL, *values = NULL, *kids = NULL, *parts = NULL;
    int held = node_parse(&arena, &node, (const uint8_t *)PyBytes_AS_STRING(arguments[0]),
                          (size_t)PyBytes_GET_SIZE(arguments[0]), (int)height);
    if (held && (keys = PyList_New(node.count)) && (values = PyList_New(node.count)) &&
        (kids = PyList_New(node.count + 1)) && set(kids, 0, kid_object(&node.left))) {
        int made = 1;
        for (int i = 0; made && i < node.count; i++) {
            const Entry *entry = node.entries + i;
            made = set(keys, i, PyBytes_FromStringAndSize((const char *)entry->key, entry->key_size)) &&
                   set(values, i, PyBytes_FromStringAndSize((const char *)entry->value, CID_SIZE)) &&
                   set(kids, i + 1, kid_object(&entry->kid));
        }
        if (made)
            parts = Py_BuildValue("(OOOi)", keys, values, kids, node.height);
    }
    Py_XDECREF(keys);
    Py_XDECREF(values);
    Py_XDECREF(kids);
    arena_free(&arena);
    if (parts || PyErr_Occurred())
        return parts;
    Py_RETURN_NONE;
}

/* encode_entry(previous, key, value, kid): its canonical bytes, or None for no answer. */
static PyObject *core_encode_entry(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    for (Py_ssize_t i = 0; i < 4; i++)
        if (count != 4 || !(PyBytes_CheckExact(arguments[i]) || (i == 3 && arguments[i] == Py_None)) ||
            (i >= 2 && arguments[i] != Py_None && PyBytes_GET_SIZE(arguments[i]) != CID_SIZE) ||
            (i < 2 && PyBytes_GET_SIZE(arguments[i]) > KEY_MAX))
            Py_RETURN_NONE;
    const uint8_t *kid = arguments[3] == Py_None ? NULL : (const uint8_t *)PyBytes_AS_STRING(arguments[3]);
    const Entry entry = {
        .key = (const uint8_t *)PyBytes_AS_STRING(arguments[1]),
        .key_size = (uint32_t)PyBytes_GET_SIZE(arguments[1]),
        .value = (const uint8_t *)PyBytes_AS_STRING(arguments[2]),
        .kid = {NULL, kid},
    };
    uint8_t bytes[ENTRY_ROOM + KEY_MAX];
    const uint8_t *end = entry_encode(bytes, &entry, (const uint8_t *)PyBytes_AS_STRING(arguments[0]),
                                      (uint32_t)PyBytes_GET_SIZE(arguments[0]));
    return PyBytes_FromStringAndSize((const char *)bytes, end - bytes);
}

/* layer_of(key): its layer in a tree. */
static PyObject *core_layer_of(PyObject *module, PyObject *key) {
    (void)module;
    char *bytes;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(key, &bytes, &size))
        return NULL;
    return PyLong_FromLong(layer_of((const uint8_t *)bytes, (size_t)size));
}

/* digests(data): its SHA-256 by the way chosen for this processor, and by the book. */
static PyObject *core_digests(PyObject *module, PyObject *data) {
    (void)module;
    char *bytes;
    Py_ssize_t size;
    uint8_t chosen[DIGEST_SIZE], by_the_book[DIGEST_SIZE];
    if (PyBytes_AsStringAndSize(data, &bytes, &size))
        return NULL;
    sha256((const uint8_t *)bytes, (size_t)size, chosen);
    sha256_by_the_book((const uint8_t *)bytes, (size_t)size, by_the_book);
    return Py_BuildValue("(y#y#)", chosen, (Py_ssize_t)DIGEST_SIZE, by_the_book, (Py_ssize_t)DIGEST_SIZE);
}

static PyMethodDef FUNCTIONS[] = {
    {"invert", (PyCFunction)(void (*)(void))core_invert, METH_FASTCALL, NULL},
    {"read_blocks", (PyCFunction)(void (*)(void))core_read_blocks, METH_FASTCALL, NULL},
    {"take_apart", (PyCFunction)(void (*)(void))core_take_apart, METH_FASTCALL, NULL},
    {"encode_entry", (PyCFunction)(void (*)(void))core_encode_entry, METH_FASTCALL, NULL},
    {"layer_of", core_layer_of, METH_O, NULL},
    {"digests", core_digests, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, "_compiled", NULL, 0, FUNCTIONS, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__compiled(void) {
    sha256_choose();
    PyObject *module = PyModule_Create(&MODULE);
    if (module && PyModule_AddStringConstant(module, "SOURCE", SOURCE)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
