/* loader._native: the kernel as a Python module. Everything here checks arguments and hands over buffers.
 *
 * Python code has read the model's files and checked names, types and shapes. Lengths and token numbers are checked again,
 * because a mistake here would read somebody else's memory.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "encoder.h"
#include "places.h"
#include "threads.h"
#include "tokens_type.h"
#include "topk.h"

#include <math.h>
#include <string.h>

enum { ABI = 3 };

/* Tokens from which on a second thread is worth waking. With fewer, reading the weights takes the time, and one thread can
 * keep the memory busy. */
enum { TOKENS_FOR_THREADS = 24 };

/* Products above this are no lengths of buffers, so sums of a few do not overflow. */
static const size_t TOO_LARGE = SIZE_MAX / 64;

/* Sums of so many products of bytes, 254 * 128 each, fit into 32 bits. */
static const size_t WIDEST_OF_INTEGERS = 1 << 16;

typedef struct {
    PyObject_HEAD
    Model model;
    const Lanes *lanes;
    Pool *pool;
    Py_ssize_t threads;
    Py_buffer *buffers; /* all that the model points into */
    size_t buffer_count;
    int is_ready; /* __init__ has succeeded */
} EncoderObject;

/* ---- Reading arguments ---- */

static int is_error(const char *what) {
    PyErr_SetString(PyExc_ValueError, what);
    return -1;
}

/* A positive number from a tuple, at most 2^31. */
static int get_size(PyObject *tuple, Py_ssize_t index, size_t *size) {
    PyObject *item = PyTuple_GetItem(tuple, index);
    Py_ssize_t number = item ? PyLong_AsSsize_t(item) : -1;
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (number < 1 || number > INT32_MAX)
        return is_error("a size is not a positive number");
    *size = (size_t)number;
    return 0;
}

/* Borrows a buffer until the encoder is destroyed. */
static int get_buffer(EncoderObject *self, PyObject *object, const char *name, Py_buffer **buffer) {
    Py_buffer *buffers = PyMem_Realloc(self->buffers, (self->buffer_count + 1) * sizeof *buffers);
    if (!buffers) {
        PyErr_NoMemory();
        return -1;
    }
    self->buffers = buffers;
    *buffer = &buffers[self->buffer_count];
    if (PyObject_GetBuffer(object, *buffer, PyBUF_SIMPLE)) {
        if (PyErr_ExceptionMatches(PyExc_BufferError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_ValueError, "%s is not contiguous", name);
        }
        return -1;
    }
    self->buffer_count++;
    return 0;
}

/* A buffer of exactly so many numbers of so many bytes. */
static const void *get_numbers(EncoderObject *self, PyObject *object, const char *name, size_t count, size_t size) {
    Py_buffer *buffer;
    if (!object || get_buffer(self, object, name, &buffer))
        return NULL;
    if ((size_t)buffer->len != count * size) {
        PyErr_Format(PyExc_ValueError, "%s has %zd bytes, not %zu", name, buffer->len, count * size);
        return NULL;
    }
    if ((uintptr_t)buffer->buf % size) {
        PyErr_Format(PyExc_ValueError, "%s is not aligned", name);
        return NULL;
    }
    return buffer->buf;
}

static const float *get_floats(EncoderObject *self, PyObject *object, const char *name, size_t count) {
    return get_numbers(self, object, name, count, sizeof(float));
}

/* The index of a string in a list that ends with NULL, or -1. */
static int get_choice(PyObject *object, const char *const *choices, const char *what) {
    for (int i = 0; object && PyUnicode_Check(object) && choices[i]; i++)
        if (!PyUnicode_CompareWithASCIIString(object, choices[i]))
            return i;
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "unknown %s: %A", what, object ? object : Py_None);
    return -1;
}

static const char *const HALVES[] = {"F16", "BF16", NULL};

/* A matrix or table: float32, or a pair of integers and scales. */
static int get_weight(EncoderObject *self, PyObject *object, const char *name, size_t rows, size_t columns,
                      Weight *weight) {
    if (!object)
        return -1;
    if (rows > TOO_LARGE / columns)
        return is_error("a matrix is too large");
    if (!PyTuple_Check(object)) {
        weight->values = get_floats(self, object, name, rows * columns);
        return weight->values ? 0 : -1;
    }
    if (PyTuple_Size(object) != 2)
        return is_error("8-bit weights are a pair");
    weight->values = get_numbers(self, PyTuple_GetItem(object, 0), name, rows * columns, 1);
    weight->scale = weight->values ? get_floats(self, PyTuple_GetItem(object, 1), name, rows) : NULL;
    return weight->scale ? 0 : -1;
}

/* A table of numbers of 16 bits: a pair of these and the name of their type. */
static int get_halves(EncoderObject *self, PyObject *pair, const char *name, size_t columns, Weight *table, size_t *rows) {
    Py_buffer *buffer;
    int choice = get_choice(PyTuple_GetItem(pair, 1), HALVES, "type");
    if (choice < 0 || get_buffer(self, PyTuple_GetItem(pair, 0), name, &buffer))
        return -1;
    *rows = (size_t)buffer->len / 2 / columns;
    if (!*rows || (size_t)buffer->len != *rows * columns * 2 || (uintptr_t)buffer->buf % 2)
        return is_error("a table of 16 bits is empty, not aligned, or has no whole rows");
    table->values = buffer->buf;
    table->floats = choice ? BF16 : F16;
    return 0;
}

/* A table of as many rows as there are. */
static int get_table(EncoderObject *self, PyObject *object, const char *name, size_t columns, Weight *table,
                     size_t *rows) {
    int is_pair = object && PyTuple_Check(object) && PyTuple_Size(object) == 2;
    if (is_pair && PyUnicode_Check(PyTuple_GetItem(object, 1)))
        return get_halves(self, object, name, columns, table, rows);
    PyObject *first = is_pair ? PyTuple_GetItem(object, 0) : object;
    size_t size = first == object ? columns * sizeof(float) : columns;
    Py_buffer buffer;
    if (!first || PyObject_GetBuffer(first, &buffer, PyBUF_SIMPLE))
        return -1;
    *rows = (size_t)buffer.len / size;
    PyBuffer_Release(&buffer);
    if (!*rows)
        return is_error("a table is empty");
    return get_weight(self, object, name, *rows, columns, table);
}

static int get_linear(EncoderObject *self, PyObject *weights, Py_ssize_t index, const char *name, size_t in, size_t out,
                      Linear *linear) {
    linear->in = in;
    linear->out = out;
    if (get_weight(self, PyTuple_GetItem(weights, index), name, out, in, &linear->weight))
        return -1;
    if (linear->weight.scale && in > WIDEST_OF_INTEGERS)
        return is_error("an 8-bit matrix is too wide");
    linear->bias = get_floats(self, PyTuple_GetItem(weights, index + 1), name, out);
    return linear->bias ? 0 : -1;
}

/* Whether all of a layer's matrices are integers, or none is, as in the first layer. */
static int is_uniform(const Model *model, const Layer *layer) {
    const Linear *matrices[] = {&layer->projections[0], &layer->projections[1], &layer->projections[2],
                                &layer->attention_output, &layer->up, &layer->down};
    for (size_t i = 0; i < 6; i++)
        if (!matrices[i]->weight.scale != !model->layers[0].up.weight.scale)
            return 0;
    return 1;
}

static int get_norm(EncoderObject *self, PyObject *weights, Py_ssize_t index, const char *name, size_t width,
                    Norm *norm) {
    norm->gain = get_floats(self, PyTuple_GetItem(weights, index), name, width);
    norm->shift = norm->gain ? get_floats(self, PyTuple_GetItem(weights, index + 1), name, width) : NULL;
    return norm->shift ? 0 : -1;
}

static int get_layer(EncoderObject *self, PyObject *weights, Layer *layer) {
    size_t width = self->model.width, inner = self->model.inner;
    if (!weights || !PyTuple_Check(weights) || PyTuple_Size(weights) != 16)
        return is_error("a layer is not a tuple of 16 weights");
    return get_linear(self, weights, 0, "query", width, width, &layer->projections[0]) ||
                   get_linear(self, weights, 2, "key", width, width, &layer->projections[1]) ||
                   get_linear(self, weights, 4, "value", width, width, &layer->projections[2]) ||
                   get_linear(self, weights, 6, "attention_output", width, width, &layer->attention_output) ||
                   get_norm(self, weights, 8, "attention_norm", width, &layer->attention_norm) ||
                   get_linear(self, weights, 10, "up", width, inner, &layer->up) ||
                   get_linear(self, weights, 12, "down", inner, width, &layer->down) ||
                   get_norm(self, weights, 14, "output_norm", width, &layer->output_norm)
               ? -1
               : 0;
}

static const char *const ACTIVATIONS[] = {"identity", "gelu", "gelu_tanh", "relu", "tanh", NULL};
static const char *const POOLINGS[] = {"cls", "max", "mean", "mean_sqrt_len_tokens", NULL};

static int get_activation(PyObject *object, Activation *activation) {
    int choice = get_choice(object, ACTIVATIONS, "activation");
    *activation = choice < 0 ? IDENTITY : (Activation)choice;
    return choice < 0 ? -1 : 0;
}

static int get_sizes(EncoderObject *self, PyObject *sizes) {
    Model *model = &self->model;
    if (!PyTuple_Check(sizes) || PyTuple_Size(sizes) != 6)
        return is_error("sizes is not a tuple of 6");
    if (get_size(sizes, 0, &model->width) || get_size(sizes, 1, &model->heads) || get_size(sizes, 2, &model->inner) ||
        get_activation(PyTuple_GetItem(sizes, 3), &model->activation))
        return -1;
    if (model->width % model->heads)
        return is_error("the heads do not divide the width");
    double epsilon = PyFloat_AsDouble(PyTuple_GetItem(sizes, 4));
    if (epsilon == -1.0 && PyErr_Occurred())
        return -1;
    if (!(epsilon > 0.0 && epsilon < 1.0))
        return is_error("epsilon is not between 0 and 1");
    model->epsilon = (float)epsilon;
    model->padding = -1;
    PyObject *padding = PyTuple_GetItem(sizes, 5);
    if (padding != Py_None) {
        Py_ssize_t number = PyLong_AsSsize_t(padding);
        if (number == -1 && PyErr_Occurred())
            return -1;
        if (number < 0 || number > INT32_MAX)
            return is_error("the padding token's number is out of range");
        model->padding = number;
    }
    return 0;
}

static int get_embeddings(EncoderObject *self, PyObject *embeddings) {
    Model *model = &self->model;
    if (!PyTuple_Check(embeddings) || PyTuple_Size(embeddings) != 6)
        return is_error("embeddings is not a tuple of 6");
    PyObject *token_type = PyTuple_GetItem(embeddings, 2), *bias = PyTuple_GetItem(embeddings, 5);
    if (get_table(self, PyTuple_GetItem(embeddings, 0), "words", model->width, &model->words, &model->word_rows))
        return -1;
    if (PyTuple_GetItem(embeddings, 1) == Py_None) {
        if (model->words.scale)
            return is_error("a model without positions has words in float32");
        for (Py_ssize_t i = 2; i < 6; i++)
            if (PyTuple_GetItem(embeddings, i) != Py_None)
                return is_error("a model without positions has nothing but words");
        model->is_static = 1;
        return 0;
    }
    if (get_table(self, PyTuple_GetItem(embeddings, 1), "positions", model->width, &model->positions,
                  &model->position_rows) ||
        get_norm(self, embeddings, 3, "embedding_norm", model->width, &model->embedding_norm))
        return -1;
    if (token_type != Py_None && !(model->token_type = get_floats(self, token_type, "token_type", model->width)))
        return -1;
    if (bias != Py_None &&
        !(model->relative_bias = get_floats(self, bias, "relative_bias", BUCKETS * model->heads)))
        return -1;
    return 0;
}

static int get_layers(EncoderObject *self, PyObject *layers) {
    Model *model = &self->model;
    if (!PyTuple_Check(layers))
        return is_error("layers is not a tuple");
    size_t count = (size_t)PyTuple_Size(layers);
    if (model->is_static && count)
        return is_error("a model without positions has no layers");
    model->layers = PyMem_Calloc(count + 1, sizeof *model->layers);
    if (!model->layers) {
        PyErr_NoMemory();
        return -1;
    }
    for (; model->layer_count < count; model->layer_count++) {
        Layer *layer = &model->layers[model->layer_count];
        if (get_layer(self, PyTuple_GetItem(layers, (Py_ssize_t)model->layer_count), layer))
            return -1;
        if (!is_uniform(model, layer))
            return is_error("some matrices are integers and some are not");
    }
    return 0;
}

/* The rows of a matrix with so many columns; 0 and an error if there is no such matrix. */
static size_t rows_of(PyObject *object, size_t columns) {
    Py_buffer buffer;
    if (!object || PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE))
        return 0;
    size_t rows = (size_t)buffer.len / sizeof(float) / columns;
    PyBuffer_Release(&buffer);
    if (!rows || rows > INT32_MAX) {
        is_error("a Dense layer has an invalid size");
        return 0;
    }
    return rows;
}

static int get_head(EncoderObject *self, PyObject *head) {
    Model *model = &self->model;
    PyObject *modes, *dense;
    if (!PyTuple_Check(head) || PyTuple_Size(head) != 2)
        return is_error("head is not a pair");
    modes = PyTuple_GetItem(head, 0);
    dense = PyTuple_GetItem(head, 1);
    if (!PyTuple_Check(modes) || !PyTuple_Check(dense))
        return is_error("head is not a pair of tuples");
    size_t poolings = (size_t)PyTuple_Size(modes), count = (size_t)PyTuple_Size(dense);
    if (poolings < 1 || poolings > MAX_POOLINGS)
        return is_error("there must be 1 to 8 poolings");
    for (; model->pooling_count < poolings; model->pooling_count++) {
        int choice = get_choice(PyTuple_GetItem(modes, (Py_ssize_t)model->pooling_count), POOLINGS, "pooling");
        if (choice < 0)
            return -1;
        if (model->is_static && choice != MEAN)
            return is_error("a model without positions pools by mean");
        model->poolings[model->pooling_count] = (Pooling)choice;
    }
    model->dimension = model->width * poolings;
    model->dense = PyMem_Calloc(count + 1, sizeof *model->dense);
    if (!model->dense) {
        PyErr_NoMemory();
        return -1;
    }
    for (; model->dense_count < count; model->dense_count++) {
        PyObject *layer = PyTuple_GetItem(dense, (Py_ssize_t)model->dense_count);
        Dense *to = &model->dense[model->dense_count];
        if (!PyTuple_Check(layer) || PyTuple_Size(layer) != 3)
            return is_error("a Dense layer is not a tuple of 3");
        size_t out = rows_of(PyTuple_GetItem(layer, 0), model->dimension);
        to->linear.in = model->dimension;
        to->linear.out = out;
        if (!out || get_weight(self, PyTuple_GetItem(layer, 0), "dense", out, model->dimension, &to->linear.weight) ||
            get_activation(PyTuple_GetItem(layer, 2), &to->activation))
            return -1;
        PyObject *bias = PyTuple_GetItem(layer, 1);
        if (bias != Py_None && !(to->linear.bias = get_floats(self, bias, "dense bias", out)))
            return -1;
        model->dimension = out;
    }
    return 0;
}

static int get_lanes(EncoderObject *self, const char *name) {
    self->lanes = best_lanes();
    for (size_t i = 0; name && ALL_LANES[i]; i++)
        if (!strcmp(ALL_LANES[i]->name, name) && ALL_LANES[i]->is_usable()) {
            self->lanes = ALL_LANES[i];
            return 0;
        }
    if (name)
        PyErr_Format(PyExc_ValueError, "this processor or this build has no %s", name);
    return name ? -1 : 0;
}

/* ---- The class ---- */

static int encoder_init(PyObject *object, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"sizes", "embeddings", "layers", "head", "threads", "variant", NULL};
    EncoderObject *self = (EncoderObject *)object;
    PyObject *sizes, *embeddings, *layers, *head;
    Py_ssize_t threads = 1;
    const char *variant = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOOO|nz", names, &sizes, &embeddings, &layers, &head, &threads,
                                     &variant))
        return -1;
    if (self->lanes)
        return is_error("an Encoder cannot be initialised twice");
    if (threads < 1 || threads > 1024)
        return is_error("threads must be from 1 to 1024");
    self->threads = threads;
    if (get_lanes(self, variant) || get_sizes(self, sizes) || get_embeddings(self, embeddings) ||
        get_layers(self, layers) || get_head(self, head))
        return -1;
    self->is_ready = 1;
    return 0;
}

static void encoder_dealloc(PyObject *object) {
    EncoderObject *self = (EncoderObject *)object;
    PyTypeObject *type = Py_TYPE(object);
    for (size_t i = 0; i < self->buffer_count; i++)
        PyBuffer_Release(&self->buffers[i]);
    PyMem_Free(self->buffers);
    PyMem_Free(self->model.layers);
    PyMem_Free(self->model.dense);
    pool_free(self->pool);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF(type);
}

/* Checks a text's tokens and copies their numbers. Returns how many there are, or -1. */
static Py_ssize_t get_tokens(const Model *model, PyObject *text, uint32_t *numbers) {
    size_t count = (size_t)PyList_Size(text), not_padding = 0;
    for (size_t i = 0; i < count; i++) {
        PyObject *item = PyList_GetItem(text, (Py_ssize_t)i);
        Py_ssize_t number = item ? PyLong_AsSsize_t(item) : -1;
        if (number == -1 && PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_OverflowError))
                return -1;
            PyErr_Clear();
        }
        if (number < 0 || (size_t)number >= model->word_rows) {
            PyErr_Format(PyExc_ValueError, "there is no token with the number %zd; the table has %zu", number,
                         model->word_rows);
            return -1;
        }
        not_padding += number != model->padding;
        numbers[i] = (uint32_t)number;
    }
    if (model->is_static)
        return (Py_ssize_t)count;
    size_t last = model->padding < 0 ? count : not_padding + (size_t)model->padding + 1;
    if (count && last > model->position_rows) {
        PyErr_Format(PyExc_ValueError, "a text has %zu tokens, but there are %zu positions", count, model->position_rows);
        return -1;
    }
    return (Py_ssize_t)count;
}

static PyObject *encoder_encode(PyObject *object, PyObject *texts) {
    EncoderObject *self = (EncoderObject *)object;
    const Model *model = &self->model;
    PyObject *vectors = NULL;
    uint32_t *tokens = NULL;
    size_t *lengths = NULL, total = 0, found = 0;
    if (!self->is_ready) {
        is_error("the Encoder was not initialised");
        return NULL;
    }
    if (!PyList_Check(texts)) {
        PyErr_SetString(PyExc_TypeError, "texts must be a list of lists of numbers");
        return NULL;
    }
    size_t count = (size_t)PyList_Size(texts);
    for (size_t i = 0; i < count; i++) {
        PyObject *text = PyList_GetItem(texts, (Py_ssize_t)i);
        if (!PyList_Check(text)) {
            PyErr_SetString(PyExc_TypeError, "texts must be a list of lists of numbers");
            return NULL;
        }
        total += (size_t)PyList_Size(text);
    }
    tokens = PyMem_Malloc((total + 1) * sizeof *tokens);
    lengths = PyMem_Malloc((count + 1) * sizeof *lengths);
    if (!tokens || !lengths || total > TOO_LARGE / model->width || count > TOO_LARGE / model->dimension) {
        PyErr_NoMemory();
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        /* No Python code has run since the lists were counted: numbers are only read, never converted. */
        Py_ssize_t length = get_tokens(model, PyList_GetItem(texts, (Py_ssize_t)i), tokens + found);
        if (length < 0)
            goto done;
        lengths[i] = (size_t)length;
        found += (size_t)length;
    }
    vectors = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)(count * model->dimension * sizeof(float)));
    if (!vectors)
        goto done;
    int is_worth_it = found >= TOKENS_FOR_THREADS;
    if (!self->pool && self->threads > 1 && is_worth_it)
        self->pool = pool_new((size_t)self->threads);
    pool_renew(self->pool); /* while the interpreter is locked */
    Pool *pool = is_worth_it ? self->pool : NULL;
    float *to = (float *)(void *)PyByteArray_AsString(vectors);
    int result;
    Py_BEGIN_ALLOW_THREADS
    result = encode(model, self->lanes, pool, tokens, lengths, count, to);
    Py_END_ALLOW_THREADS
    if (result) {
        Py_CLEAR(vectors);
        PyErr_NoMemory();
    }
done:
    PyMem_Free(tokens);
    PyMem_Free(lengths);
    return vectors;
}

static PyObject *encoder_touch(PyObject *object, PyObject *nothing) {
    EncoderObject *self = (EncoderObject *)object;
    (void)nothing;
    if (!self->is_ready) {
        is_error("the Encoder was not initialised");
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    touch(&self->model);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

static PyObject *encoder_dimension(PyObject *object, void *closure) {
    (void)closure;
    return PyLong_FromSize_t(((EncoderObject *)object)->model.dimension);
}

static PyObject *encoder_variant(PyObject *object, void *closure) {
    const Lanes *lanes = ((EncoderObject *)object)->lanes;
    (void)closure;
    return PyUnicode_FromString(lanes ? lanes->name : "");
}

static PyMethodDef encoder_methods[] = {
    {"encode", encoder_encode, METH_O,
     "encode(texts)\n--\n\nReturn the vectors of some texts, given as lists of token numbers: float32, row by row, not "
     "normalised.\n\nThe vector of a text without tokens is zero. Raises ValueError for a number that is not in the table, "
     "or a text longer than there are positions."},
    {"touch", encoder_touch, METH_NOARGS,
     "touch()\n--\n\nRead a little here and there of the weights, so that the first run finds them in memory. For a thread of "
     "its own, beside the rest of the load."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef encoder_attributes[] = {
    {"dimension", encoder_dimension, NULL, "the length of a vector", NULL},
    {"variant", encoder_variant, NULL, "the instruction set in use", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot encoder_slots[] = {
    {Py_tp_doc, "An encoder over weights in somebody else's memory, which it keeps alive."},
    {Py_tp_init, encoder_init},
    {Py_tp_dealloc, encoder_dealloc},
    {Py_tp_methods, encoder_methods},
    {Py_tp_getset, encoder_attributes},
    {0, NULL},
};

static PyType_Spec encoder_spec = {"loader._native.Encoder", sizeof(EncoderObject), 0, Py_TPFLAGS_DEFAULT,
                                   encoder_slots};

/* ---- Functions ---- */

static PyObject *normalise(PyObject *module, PyObject *arguments) {
    PyObject *vectors;
    Py_ssize_t dimension, bad = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O!n", &PyByteArray_Type, &vectors, &dimension))
        return NULL;
    Py_ssize_t size = PyByteArray_Size(vectors);
    if (dimension < 1 || dimension > INT32_MAX || size % (dimension * (Py_ssize_t)sizeof(float))) {
        is_error("the vectors do not have this dimension");
        return NULL;
    }
    float *row = (float *)(void *)PyByteArray_AsString(vectors);
    Py_ssize_t rows = size / dimension / (Py_ssize_t)sizeof(float);
    for (Py_ssize_t r = 0; r < rows; r++, row += dimension) {
        double sum = 0.0;
        for (Py_ssize_t i = 0; i < dimension; i++)
            sum += (double)row[i] * (double)row[i];
        double length = sqrt(sum);
        if (!(length > 0.0 && length < (double)INFINITY)) { /* stays as it is: the caller says what is wrong with it */
            bad = bad < 0 ? r : bad;
            continue;
        }
        for (Py_ssize_t i = 0; i < dimension; i++)
            row[i] = (float)((double)row[i] / length);
    }
    return PyLong_FromSsize_t(bad);
}

static PyObject *widen(PyObject *module, PyObject *arguments) {
    Py_buffer buffer;
    PyObject *kind, *floats = NULL;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*U", &buffer, &kind))
        return NULL;
    int choice = get_choice(kind, HALVES, "type");
    if (choice >= 0 && buffer.len % 2)
        is_error("half a number");
    else if (choice >= 0)
        floats = PyByteArray_FromStringAndSize(NULL, buffer.len * 2);
    if (floats) {
        char *to = PyByteArray_AsString(floats);
        const char *from = buffer.buf;
        for (Py_ssize_t i = 0; i < buffer.len / 2; i++) {
            uint16_t half;
            memcpy(&half, from + 2 * i, sizeof half);
            float number = widened(choice ? BF16 : F16, half);
            memcpy(to + 4 * i, &number, sizeof number);
        }
    }
    PyBuffer_Release(&buffer);
    return floats;
}

static PyObject *find_last(PyObject *module, PyObject *arguments) {
    Py_buffer text, piece; /* not 'y#': compiled with the headers of Python 3.13 or newer, an older Python refuses it */
    Py_ssize_t start, at = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*n", &text, &piece, &start))
        return NULL;
    if (start >= 0 && start <= text.len) {
        const char *begin = text.buf;
        const char *found =
            best_lanes()->find_last(begin + start, (size_t)(text.len - start), piece.buf, (size_t)piece.len);
        at = found ? found - begin : -1;
    }
    PyBuffer_Release(&text);
    PyBuffer_Release(&piece);
    return PyLong_FromSsize_t(at);
}

static PyObject *list_of(const Hit *hits, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *pair = Py_BuildValue("(nd)", (Py_ssize_t)hits[i].index, (double)hits[i].score);
        if (!pair || PyList_SetItem(list, (Py_ssize_t)i, pair))
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *native_top_k(PyObject *module, PyObject *arguments) {
    Py_buffer query, vectors;
    Py_ssize_t k;
    PyObject *list = NULL;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*y*n", &query, &vectors, &k))
        return NULL;
    size_t width = (size_t)query.len / sizeof(float), row = (size_t)query.len, count = row ? (size_t)vectors.len / row : 0;
    if (!row || row % sizeof(float) || (size_t)vectors.len % row || k < 0) {
        is_error("the sizes of query and vectors do not match");
    } else {
        size_t most = (size_t)k < count ? (size_t)k : count, found = 0;
        float *copy = PyMem_Malloc(row); /* aligned */
        Hit *hits = PyMem_Malloc((most + 1) * sizeof *hits);
        if (copy && hits) {
            memcpy(copy, query.buf, row);
            Py_BEGIN_ALLOW_THREADS
            found = top_k(best_lanes(), copy, vectors.buf, count, width, most, hits);
            Py_END_ALLOW_THREADS
            list = list_of(hits, found);
        } else {
            PyErr_NoMemory();
        }
        PyMem_Free(copy);
        PyMem_Free(hits);
    }
    PyBuffer_Release(&query);
    PyBuffer_Release(&vectors);
    return list;
}

static PyMethodDef functions[] = {
    {"normalise", normalise, METH_VARARGS,
     "normalise(vectors, dimension)\n--\n\nScale each row of float32 to length 1, in place. Return the index of the first "
     "that is zero or not finite, or -1; such rows stay as they are."},
    {"widen", widen, METH_VARARGS,
     "widen(buffer, kind)\n--\n\nReturn numbers of the kind F16 or BF16 as float32."},
    {"find_last", find_last, METH_VARARGS,
     "find_last(text, piece, start)\n--\n\nReturn what text.rfind(piece, start) does, some times faster. A piece is not "
     "empty."},
    {"top_k", native_top_k, METH_VARARGS,
     "top_k(query, vectors, k)\n--\n\nReturn the k rows of float32 with the largest dot products with the query, as pairs "
     "of index and product, the best first; of equal ones the first. Leaves out products that are not numbers."},
    {NULL, NULL, 0, NULL},
};

static int add_class(PyObject *module, PyType_Spec *spec, const char *name) {
    PyObject *type = PyType_FromSpec(spec);
    int failed = !type || PyModule_AddObjectRef(module, name, type);
    Py_XDECREF(type);
    return failed;
}

static int fill(PyObject *module) {
    PyObject *usable = PyList_New(0), *variants = NULL;
    int failed = !usable || PyModule_AddIntConstant(module, "ABI", ABI);
    for (size_t i = 0; !failed && ALL_LANES[i]; i++)
        if (ALL_LANES[i]->is_usable()) {
            PyObject *name = PyUnicode_FromString(ALL_LANES[i]->name);
            failed = !name || PyList_Append(usable, name);
            Py_XDECREF(name);
        }
    if (!failed)
        variants = PyList_AsTuple(usable);
    failed = failed || !variants || PyModule_AddObjectRef(module, "VARIANTS", variants) ||
             add_class(module, &encoder_spec, "Encoder") || add_class(module, &tokens_spec, "Tokens") ||
             add_class(module, &places_spec, "Places");
    Py_XDECREF(usable);
    Py_XDECREF(variants);
    return failed ? -1 : 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "loader._native", "The compiled kernel of the engine native.", 0, functions, slots, NULL, NULL,
    NULL,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
