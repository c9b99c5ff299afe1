#include "tokens_type.h"

#include "tokens.h"

#include <stdlib.h>

typedef struct {
    PyObject_HEAD
    Tables tables;
    Py_buffer buffer;
    int is_ready; /* __init__ has succeeded */
} TokensObject;

/* Tokens from which on other threads may run meanwhile. */
enum { TEXT_TO_RELEASE = 1 << 14 };

static int tokens_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"tables", NULL};
    TokensObject *self = (TokensObject *)object;
    PyObject *tables;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O", names, &tables))
        return -1;
    if (self->buffer.obj) {
        PyErr_SetString(PyExc_ValueError, "Tokens cannot be initialised twice");
        return -1;
    }
    if (PyObject_GetBuffer(tables, &self->buffer, PyBUF_SIMPLE))
        return -1;
    if (open_tables(&self->tables, self->buffer.buf, (size_t)self->buffer.len) != DONE) {
        PyErr_SetString(PyExc_ValueError, "these are no tables of tokens, or damaged ones");
        return -1;
    }
    self->is_ready = 1;
    return 0;
}

static void tokens_dealloc(PyObject *object) {
    TokensObject *self = (TokensObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->buffer.obj)
        PyBuffer_Release(&self->buffer);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* The UTF-8 of a str, which lives as long as that; NULL with an exception. */
static const uint8_t *bytes_of(PyObject *object, PyObject *text, size_t *size) {
    Py_ssize_t length;
    if (!((TokensObject *)object)->is_ready) {
        PyErr_SetString(PyExc_ValueError, "Tokens were not initialised");
        return NULL;
    }
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    *size = (size_t)length;
    return (const uint8_t *)bytes;
}

static PyObject *refused(Result result) {
    if (result == NO_MEMORY)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *list_of_numbers(const Numbers *numbers) {
    PyObject *list = PyList_New((Py_ssize_t)numbers->count);
    for (size_t i = 0; list && i < numbers->count; i++) {
        PyObject *number = PyLong_FromUnsignedLong(numbers->items[i]);
        if (!number || PyList_SetItem(list, (Py_ssize_t)i, number))
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *tokens_encode(PyObject *object, PyObject *arguments) {
    PyObject *text;
    int is_first;
    size_t size;
    if (!PyArg_ParseTuple(arguments, "Up", &text, &is_first))
        return NULL;
    const uint8_t *bytes = bytes_of(object, text, &size);
    if (!bytes)
        return NULL;
    const Tables *tables = &((TokensObject *)object)->tables;
    Numbers numbers = {NULL, 0, 0};
    Result result;
    if (size < TEXT_TO_RELEASE) {
        result = split_text(tables, bytes, size, is_first, &numbers);
    } else {
        Py_BEGIN_ALLOW_THREADS
        result = split_text(tables, bytes, size, is_first, &numbers);
        Py_END_ALLOW_THREADS
    }
    PyObject *list = result == DONE ? list_of_numbers(&numbers) : refused(result);
    free(numbers.items);
    return list;
}

static PyObject *mapped(PyObject *object, PyObject *text,
                        Result (*map)(const Tables *, const uint8_t *, size_t, Text *)) {
    size_t size;
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "a text is a str");
        return NULL;
    }
    const uint8_t *bytes = bytes_of(object, text, &size);
    if (!bytes)
        return NULL;
    Text made = {NULL, 0, 0};
    Result result = map(&((TokensObject *)object)->tables, bytes, size, &made);
    PyObject *found = NULL;
    if (result == DONE) {
        found = PyUnicode_DecodeUTF8(made.bytes ? (const char *)made.bytes : "", (Py_ssize_t)made.size, "strict");
        if (!found && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            PyErr_Clear();
            found = refused(REFUSED);
        }
    } else {
        found = refused(result);
    }
    free(made.bytes);
    return found;
}

static PyObject *tokens_map_characters(PyObject *object, PyObject *text) { return mapped(object, text, map_characters); }

static PyObject *tokens_apply_charsmap(PyObject *object, PyObject *text) { return mapped(object, text, apply_charsmap); }

static int append_part(PyObject *list, PyObject *part) {
    int failed = !part || PyList_Append(list, part);
    Py_XDECREF(part);
    return failed ? -1 : 0;
}

static PyObject *tokens_split_added(PyObject *object, PyObject *arguments) {
    PyObject *text;
    int is_normalised;
    size_t size, length = 0;
    if (!PyArg_ParseTuple(arguments, "Up", &text, &is_normalised))
        return NULL;
    const uint8_t *bytes = bytes_of(object, text, &size);
    PyObject *list = bytes ? PyList_New(0) : NULL;
    if (!list)
        return NULL;
    const Tables *tables = &((TokensObject *)object)->tables;
    for (size_t at = 0; at < size;) {
        uint32_t number = NO_NUMBER;
        size_t found = find_added(tables, is_normalised ? NORMALISED : LITERAL, bytes, size, at, &length, &number);
        int failed = 0;
        if (found < size && !length) { /* one with rules of its own */
            Py_DECREF(list);
            Py_RETURN_NONE;
        }
        if (!at && found == size)
            failed = PyList_Append(list, text);
        else if (found > at)
            failed = append_part(list, PyUnicode_DecodeUTF8((const char *)bytes + at, (Py_ssize_t)(found - at), "strict"));
        if (!failed && found < size)
            failed = append_part(list, PyLong_FromUnsignedLong(number));
        if (failed) {
            Py_DECREF(list);
            return NULL;
        }
        at = found < size ? found + length : size;
    }
    return list;
}

static PyObject *tokens_has_foreign(PyObject *object, PyObject *text) {
    size_t size;
    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "a text is a str");
        return NULL;
    }
    const uint8_t *bytes = bytes_of(object, text, &size);
    return bytes ? PyBool_FromLong(has_foreign(&((TokensObject *)object)->tables, bytes, size)) : NULL;
}

static PyObject *tokens_settings(PyObject *object, void *closure) {
    const TokensObject *self = (TokensObject *)object;
    (void)closure;
    return PyBytes_FromStringAndSize(self->is_ready ? (const char *)self->tables.bytes[SETTINGS] : "",
                                     self->is_ready ? (Py_ssize_t)self->tables.sizes[SETTINGS] : 0);
}

static PyMethodDef tokens_methods[] = {
    {"encode", tokens_encode, METH_VARARGS,
     "encode(text, is_first)\n--\n\nReturn the numbers of the tokens of a normalised part of a text, or None if only the "
     "library can tell them. The first part is the one that begins where the text does."},
    {"map_characters", tokens_map_characters, METH_O,
     "map_characters(text)\n--\n\nReturn what the table of characters makes of a text, or None."},
    {"apply_charsmap", tokens_apply_charsmap, METH_O,
     "apply_charsmap(text)\n--\n\nReturn what sentencepiece's precompiled map makes of a text, or None if only the library "
     "can tell it."},
    {"split_added", tokens_split_added, METH_VARARGS,
     "split_added(text, is_normalised)\n--\n\nReturn the parts of a text: a str, or the number of an added token. None if "
     "it has an added token with rules of its own."},
    {"has_foreign", tokens_has_foreign, METH_O,
     "has_foreign(text)\n--\n\nReturn whether a text has characters on which the tables have nothing to say."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef tokens_attributes[] = {
    {"settings", tokens_settings, NULL, "the settings, JSON", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot tokens_slots[] = {
    {Py_tp_doc, "Tables of tokens in somebody else's memory, which they keep alive."},
    {Py_tp_init, tokens_init},
    {Py_tp_dealloc, tokens_dealloc},
    {Py_tp_methods, tokens_methods},
    {Py_tp_getset, tokens_attributes},
    {0, NULL},
};

PyType_Spec tokens_spec = {"loader._native.Tokens", sizeof(TokensObject), 0, Py_TPFLAGS_DEFAULT, tokens_slots};
