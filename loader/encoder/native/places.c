#include "places.h"

#include <stdint.h>
#include <string.h>

/* Entries with the same hash in a row, from which on a file is taken for one that was made to have them. */
enum { MOST_PROBES = 256 };

typedef struct {
    uint32_t hash, place; /* place 0: empty, as no string begins where the text does */
} Slot;

typedef struct {
    PyObject_HEAD
    Py_buffer text;
    Slot *slots;
    size_t count; /* a power of two */
} PlacesObject;

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), with the halves of its 64 bits combined. */
static uint32_t hash_of(const char *bytes, size_t size) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)bytes[i]) * 0x100000001B3u;
    return (uint32_t)(hash ^ hash >> 32);
}

/* The end of the string that begins with the quote at a place, behind its last quote; 0 if it has none. */
static size_t end_of_string(const char *text, size_t size, size_t at) {
    for (at++; at < size; at++) {
        if (text[at] == '\\')
            at++;
        else if (text[at] == '"')
            return at + 1;
    }
    return 0;
}

/* The slot of a string, or the empty one where it belongs; NULL if too many others are in its way. */
static Slot *slot_of(const PlacesObject *self, uint32_t hash, const char *bytes, size_t size) {
    const char *text = self->text.buf;
    for (size_t probe = 0; probe < MOST_PROBES; probe++) {
        Slot *slot = &self->slots[(hash + probe) & (self->count - 1)];
        if (!slot->place || (slot->hash == hash && size <= (size_t)self->text.len - slot->place &&
                             !memcmp(text + slot->place, bytes, size)))
            return slot;
    }
    return NULL;
}

static int fill_slots(PlacesObject *self, size_t start) {
    const char *text = self->text.buf;
    size_t size = (size_t)self->text.len, strings = 0, end;
    for (const char *quote = text + start; (quote = memchr(quote, '"', (size_t)(text + size - quote))); quote++)
        strings++; /* at least twice as many as there are */
    for (self->count = 64; self->count < strings;)
        self->count *= 2;
    self->slots = PyMem_Calloc(self->count, sizeof *self->slots);
    if (!self->slots) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t at = start; at < size; at = end) {
        const char *quote = memchr(text + at, '"', size - at);
        if (!quote)
            break;
        at = (size_t)(quote - text);
        end = end_of_string(text, size, at);
        uint32_t hash = end ? hash_of(text + at, end - at) : 0;
        Slot *slot = end ? slot_of(self, hash, text + at, end - at) : NULL;
        if (!slot || !at) {
            PyErr_SetString(PyExc_ValueError, "not the strings of a vocabulary");
            return -1;
        }
        *slot = (Slot){hash, (uint32_t)at};
    }
    return 0;
}

static int places_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"text", "start", NULL};
    PlacesObject *self = (PlacesObject *)object;
    PyObject *text;
    Py_ssize_t start;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "On", names, &text, &start))
        return -1;
    if (self->text.obj) {
        PyErr_SetString(PyExc_ValueError, "Places cannot be initialised twice");
        return -1;
    }
    if (PyObject_GetBuffer(text, &self->text, PyBUF_SIMPLE))
        return -1;
    if (start < 0 || start > self->text.len || (size_t)self->text.len > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "the start is not in the text, or the text is too long");
        return -1;
    }
    return fill_slots(self, (size_t)start);
}

static void places_dealloc(PyObject *object) {
    PlacesObject *self = (PlacesObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->text.obj)
        PyBuffer_Release(&self->text);
    PyMem_Free(self->slots);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

static PyObject *places_find(PyObject *object, PyObject *string) {
    const PlacesObject *self = (const PlacesObject *)object;
    Py_buffer buffer;
    if (PyObject_GetBuffer(string, &buffer, PyBUF_SIMPLE))
        return NULL;
    Py_ssize_t place = -1;
    if (self->slots) {
        const char *bytes = buffer.buf;
        Slot *slot = slot_of(self, hash_of(bytes, (size_t)buffer.len), bytes, (size_t)buffer.len);
        if (slot && slot->place)
            place = (Py_ssize_t)slot->place;
    }
    PyBuffer_Release(&buffer);
    return PyLong_FromSsize_t(place);
}

static PyMethodDef places_methods[] = {
    {"find", places_find, METH_O,
     "find(string)\n--\n\nReturn the place of the last string that is written like this one, quotes included, or -1."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot places_slots[] = {
    {Py_tp_doc, "The places of the strings in a JSON text from a place on. Raises ValueError if it is none, or hostile."},
    {Py_tp_init, places_init},
    {Py_tp_dealloc, places_dealloc},
    {Py_tp_methods, places_methods},
    {0, NULL},
};

PyType_Spec places_spec = {"loader._native.Places", sizeof(PlacesObject), 0, Py_TPFLAGS_DEFAULT, places_slots};
