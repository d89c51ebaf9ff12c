/* Sections of a CAR, each hash checked: the twin of the loop in ingest/repo/car.py `read_car`. */

#include "core.h"

/* read_blocks(data, at): blocks by their binary CIDs, or None for no answer. */
PyObject *core_read_blocks(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyBytes_CheckExact(arguments[0]) || !PyLong_CheckExact(arguments[1]))
        Py_RETURN_NONE;
    const uint8_t *start = (const uint8_t *)PyBytes_AS_STRING(arguments[0]);
    const uint8_t *end = start + PyBytes_GET_SIZE(arguments[0]);
    Py_ssize_t skip = PyLong_AsSsize_t(arguments[1]);
    if (skip < 0 || skip > end - start) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    PyObject *blocks = PyDict_New();
    if (!blocks)
        return NULL;
    for (const uint8_t *at = start + skip; at < end;) {
        size_t size = 0;
        int shift = 0;
        while (at < end && *at >= 0x80 && shift < 21) {
            size |= (size_t)(*at++ & 0x7f) << shift;
            shift += 7;
        }
        if (at == end || *at >= 0x80 || (!*at && shift))
            goto none;
        size |= (size_t)*at++ << shift;
        if (size < CID_SIZE || size > (size_t)(end - at) || !is_link_target(at, 1))
            goto none;
        uint8_t digest[DIGEST_SIZE];
        sha256(at + CID_SIZE, size - CID_SIZE, digest);
        if (memcmp(digest, at + 4, DIGEST_SIZE))
            goto none;
        PyObject *cid = PyBytes_FromStringAndSize((const char *)at, CID_SIZE);
        PyObject *block = PyBytes_FromStringAndSize((const char *)at + CID_SIZE, (Py_ssize_t)(size - CID_SIZE));
        int kept = cid && block && !PyDict_SetItem(blocks, cid, block);
        Py_XDECREF(cid);
        Py_XDECREF(block);
        if (!kept) {
            Py_DECREF(blocks);
            return NULL;
        }
        at += size;
    }
    return blocks;
none:
    Py_DECREF(blocks);
    Py_RETURN_NONE;
}
