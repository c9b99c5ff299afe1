/* A transformer encoder over weights that lie somewhere in memory, usually in a mapped file.
 *
 * What is computed is the same as in loader/encoder/forward.py, which explains it. Here, the tokens are the rows of every
 * matrix. Weights are used where they are: only the piece that is being multiplied is rearranged, in the first-level cache.
 *
 * Nothing here knows Python, and nothing is global: any number of threads may use one model.
 */
#ifndef ENCODER_H
#define ENCODER_H

#include <stddef.h>
#include <stdint.h>

/* The types of numbers with a point: float32, float16 and bfloat16. */
typedef enum { F32, F16, BF16 } Floats;

/* A matrix (out, in) or a table (rows, width) of float32; or of 8-bit integers, matrices then (in, out), and a scale for
 * each row (out or rows). The numbers of a table may have 16 bits. */
typedef struct {
    const void *values;
    const float *scale; /* NULL for numbers with a point */
    Floats floats;
} Weight;

typedef struct {
    Weight weight;
    const float *bias; /* NULL for none */
    size_t in, out;
} Linear;

typedef struct {
    const float *gain, *shift;
} Norm;

typedef enum { IDENTITY, GELU, GELU_TANH, RELU, TANH } Activation;

typedef struct {
    Linear projections[3]; /* to queries, keys and values */
    Linear attention_output, up, down;
    Norm attention_norm, output_norm;
} Layer;

typedef struct {
    Linear linear;
    Activation activation;
} Dense;

typedef enum { CLS, MAX, MEAN, MEAN_SQRT } Pooling;

enum { MAX_POOLINGS = 8, BUCKETS = 32 };

typedef struct {
    int is_static; /* nothing but words: a text's vector is the mean of their rows */
    size_t width, heads, inner;
    size_t word_rows, position_rows;
    int64_t padding; /* the padding token's number if positions are counted from it, else -1 */
    float epsilon;
    Activation activation;
    Weight words, positions;
    const float *token_type; /* (width) or NULL */
    Norm embedding_norm;
    const float *relative_bias; /* (BUCKETS, heads) or NULL */
    size_t layer_count;
    Layer *layers;
    size_t pooling_count;
    Pooling poolings[MAX_POOLINGS];
    size_t dense_count;
    Dense *dense;
    size_t dimension; /* of a text's vector */
} Model;

/* The rows of a matrix (tokens, in) in 8 bits, see eight.h: about (values + shift) * scale. Rows are padded to a multiple
 * of four. */
typedef struct {
    uint8_t *values;
    float *scales;
    int32_t *shifts;
} Bytes;

/* The loops over numbers, compiled once for each instruction set: lanes.c. */
typedef struct Lanes {
    const char *name;
    int (*is_usable)(void);
    /* y (tokens, out) = activation(x (tokens, in) W^T + b), the columns from first up to last of it; W is float32 */
    void (*linear)(const Linear *linear, Activation activation, const float *x, float *y, size_t tokens, size_t first,
                   size_t last);
    /* The same in 8 bits: quantise makes x, and packed is room for packed_size(in) bytes. */
    void (*quantise)(const float *x, size_t tokens, size_t in, const Bytes *to);
    void (*linear8)(const Linear *linear, Activation activation, const Bytes *x, float *y, size_t tokens, size_t first,
                    size_t last, int8_t *packed);
    size_t (*packed_size)(size_t in);
    /* What computes a model in 8 bits: these themselves, unless they would not give the same bits as all others. */
    const struct Lanes *in_8_bits;
    /* Adds the rows of more to those of x, then normalises each to mean 0 and variance 1, and applies gain and shift. */
    void (*add_and_normalise)(float *x, const float *more, size_t tokens, size_t width, const Norm *norm, float epsilon);
    /* One head of one text: softmax(Q K^T / sqrt(size) + bias) V. The rows of all matrices are width apart. bias, if it
     * is not NULL, is that of the distance 0 between key and query; those of other distances lie before and after it. */
    void (*attend)(const float *query, const float *key, const float *value, float *context, size_t length, size_t size,
                   size_t width, const float *bias, float *scratch);
    /* How many numbers attend needs as scratch. */
    size_t (*attend_scratch)(size_t length, size_t size);
    /* The dot products of a vector with the rows of a matrix. */
    void (*dot_rows)(const float *query, const char *rows, size_t count, size_t width, float *products);
    /* The last place of a piece in a text, or NULL. */
    const char *(*find_last)(const char *text, size_t length, const char *piece, size_t size);
} Lanes;

/* All of them, the best first; ends with NULL. */
extern const Lanes *const ALL_LANES[];

/* The best of them that this processor has. */
const Lanes *best_lanes(void);

/* Reads a little here and there of the layers' weights. Mapped pages are entered into the page table when they are first
 * read, which takes about as long as a short text's products. A second thread can do it ahead of the first run. */
void touch(const Model *model);

/* A number of 16 bits. */
float widened(Floats type, uint16_t half);

struct Pool;

/* Computes the vectors (texts, dimension) of texts, given as the numbers of their tokens, one text after the other.
 * Vectors of texts without tokens are zero. Every number and every length must have been checked.
 *
 * Returns 0, or -1 if there is not enough memory.
 */
int encode(const Model *model, const Lanes *lanes, struct Pool *pool, const uint32_t *tokens, const size_t *lengths,
           size_t texts, float *vectors);

#endif
