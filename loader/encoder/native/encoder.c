#include "encoder.h"
#include "threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
extern const Lanes lanes_vnni, lanes_avx512, lanes_avx2;
#endif
extern const Lanes lanes_baseline;

const Lanes *const ALL_LANES[] = {
#if defined(__x86_64__)
    &lanes_vnni, &lanes_avx512, &lanes_avx2,
#endif
    &lanes_baseline, NULL,
};

const Lanes *best_lanes(void) {
    size_t i = 0;
    while (!ALL_LANES[i]->is_usable())
        i++;
    return ALL_LANES[i];
}

/* At most so many tokens one thread takes through the layers' products at a time: what lies between two products stays in
 * the second-level cache. */
enum { BLOCK = 144 };

/* Up to so many tokens, threads share the work by rows of weights: too few blocks of tokens would leave some idle. */
enum { FEW = 384 };

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static size_t rounded_up(size_t number, size_t unit) { return (number + unit - 1) / unit * unit; }

/* What one run needs: the token vectors, and room for each thread. */
typedef struct {
    const Model *model;
    const Lanes *lanes;
    const Layer *layer;
    size_t tokens, texts;
    size_t block; /* tokens of a block, of which each thread gets the same number */
    const size_t *lengths, *starts;
    float *x;                            /* (tokens, width) */
    float *query, *key, *value, *context; /* (tokens, width) */
    const float *biases;                 /* (heads, 2 * longest - 1), of the distances from 1 - longest on, or NULL */
    size_t longest;
    float *inner; /* (tokens, inner), for few tokens */
    float *bytes; /* room for what is multiplied in 8 bits, for few tokens */
    float *room;  /* (threads, room_size): first what a product in 8 bits needs */
    size_t room_size, packed_size, bytes_size;
} Run;

/* ---- Embeddings ---- */

float widened(Floats type, uint16_t half) {
    uint32_t bits;
    float number;
    if (type == BF16) { /* the upper half of a float32 */
        bits = (uint32_t)half << 16;
    } else {
        uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
        if (exponent == 31) {
            bits = sign | 0x7F800000 | fraction << 13;
        } else if (exponent) {
            bits = sign | (exponent + 112) << 23 | fraction << 13;
        } else { /* 0, or a number too small for an exponent */
            number = (float)fraction * 5.9604644775390625e-8f;
            return sign ? -number : number;
        }
    }
    memcpy(&number, &bits, sizeof number);
    return number;
}

static void add_row(const Weight *table, size_t number, size_t width, float *row) {
    if (table->floats != F32) {
        const uint16_t *halves = (const uint16_t *)table->values + number * width;
        for (size_t i = 0; i < width; i++)
            row[i] += widened(table->floats, halves[i]);
    } else if (table->scale) {
        const int8_t *integers = (const int8_t *)table->values + number * width;
        for (size_t i = 0; i < width; i++)
            row[i] += (float)integers[i] * table->scale[number];
    } else {
        const float *numbers = (const float *)table->values + number * width;
        for (size_t i = 0; i < width; i++)
            row[i] += numbers[i];
    }
}

/* The sum of the word, position and token type embeddings, normalised. */
static void embed(const Run *run, const uint32_t *tokens) {
    const Model *model = run->model;
    size_t width = model->width;
    memset(run->x, 0, run->tokens * width * sizeof(float));
    for (size_t text = 0; text < run->texts; text++) {
        int64_t counted = 0; /* RoBERTa's positions start at padding + 1 and skip padding tokens */
        for (size_t i = 0; i < run->lengths[text]; i++) {
            size_t at = run->starts[text] + i, position = i;
            if (model->padding >= 0) {
                int is_padding = (int64_t)tokens[at] == model->padding;
                counted += !is_padding;
                position = (size_t)(is_padding ? model->padding : counted + model->padding);
            }
            float *row = run->x + at * width;
            add_row(&model->words, tokens[at], width, row);
            add_row(&model->positions, position, width, row);
            if (model->token_type)
                for (size_t j = 0; j < width; j++)
                    row[j] += model->token_type[j];
        }
    }
    run->lanes->add_and_normalise(run->x, NULL, run->tokens, width, &model->embedding_norm, model->epsilon);
}

/* T5's bucket of a distance (key's position minus query's): 16 for each direction. Distances below 8 have one bucket each;
 * from 8 to 128 there are 8, logarithmically spaced: floor(8 + 8 log(distance / 8) / log 16). */
static size_t bucket(ptrdiff_t distance) {
    static const ptrdiff_t from[] = {12, 16, 23, 32, 46, 64, 91};
    size_t side = distance > 0 ? BUCKETS / 2 : 0;
    ptrdiff_t far = distance < 0 ? -distance : distance;
    if (far < 8)
        return side + (size_t)far;
    size_t found = 8;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        found += far >= from[i];
    return side + found;
}

/* MPNet's bias of each head and distance. */
static float *relative_biases(const Model *model, size_t longest) {
    size_t distances = 2 * longest - 1;
    float *biases = malloc(model->heads * distances * sizeof(float));
    for (size_t i = 0; biases && i < distances; i++) {
        const float *row = model->relative_bias + bucket((ptrdiff_t)i - (ptrdiff_t)longest + 1) * model->heads;
        for (size_t head = 0; head < model->heads; head++)
            biases[head * distances + i] = row[head];
    }
    return biases;
}

/* ---- A layer ---- */

/* Where a matrix in 8 bits lies in some room: see bytes_size. */
static Bytes bytes_in(float *room, size_t tokens) {
    int32_t *shifts = (int32_t *)(void *)(room + tokens);
    return (Bytes){.scales = room, .shifts = shifts, .values = (uint8_t *)(shifts + tokens)};
}

static void multiply(const Run *run, const Linear *linear, Activation activation, const float *x, float *y,
                     size_t tokens, float *room) {
    if (!linear->weight.scale) {
        run->lanes->linear(linear, activation, x, y, tokens, 0, linear->out);
        return;
    }
    Bytes bytes = bytes_in(room + run->packed_size, tokens);
    run->lanes->quantise(x, tokens, linear->in, &bytes);
    run->lanes->linear8(linear, activation, &bytes, y, tokens, 0, linear->out, (int8_t *)room);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* Loads that lie within one cache line are twice as fast. */
enum { CACHE_LINE = 64 };

static size_t rounded(size_t numbers) { return rounded_up(numbers, 16); }

/* How many numbers of room some rows need in 8 bits. */
static size_t bytes_size(size_t tokens, size_t in) { return rounded(2 * tokens + tokens * ((in + 3) / 4)); }

/* With many tokens, each thread takes blocks of them, in two steps: attend, and everything else until the next layer's
 * attention. */

static void project(const Run *run, const Layer *layer, size_t first, size_t tokens, float *room) {
    size_t width = run->model->width;
    const float *x = run->x + first * width;
    multiply(run, &layer->projections[0], IDENTITY, x, run->query + first * width, tokens, room);
    multiply(run, &layer->projections[1], IDENTITY, x, run->key + first * width, tokens, room);
    multiply(run, &layer->projections[2], IDENTITY, x, run->value + first * width, tokens, room);
}

static void begin(void *context, size_t block, size_t worker) {
    const Run *run = context;
    size_t first = block * run->block;
    project(run, run->layer, first, smaller(run->block, run->tokens - first), run->room + worker * run->room_size);
}

static void attend(void *context, size_t index, size_t worker) {
    const Run *run = context;
    const Model *model = run->model;
    size_t text = index / model->heads, head = index % model->heads, size = model->width / model->heads;
    size_t at = run->starts[text] * model->width + head * size;
    const float *bias = NULL;
    if (run->biases)
        bias = run->biases + head * (2 * run->longest - 1) + run->longest - 1;
    if (run->lengths[text])
        run->lanes->attend(run->query + at, run->key + at, run->value + at, run->context + at, run->lengths[text], size,
                           model->width, bias, run->room + worker * run->room_size);
}

static void go_on(void *context, size_t block, size_t worker) {
    const Run *run = context;
    const Model *model = run->model;
    const Layer *layer = run->layer, *next = layer + 1;
    size_t width = model->width, first = block * run->block, tokens = smaller(run->block, run->tokens - first);
    float *x = run->x + first * width;
    float *room = run->room + worker * run->room_size;
    float *inner = room + run->packed_size + run->bytes_size, *more = inner + BLOCK * model->inner;
    multiply(run, &layer->attention_output, IDENTITY, run->context + first * width, more, tokens, room);
    run->lanes->add_and_normalise(x, more, tokens, width, &layer->attention_norm, model->epsilon);
    multiply(run, &layer->up, model->activation, x, inner, tokens, room);
    multiply(run, &layer->down, IDENTITY, inner, more, tokens, room);
    run->lanes->add_and_normalise(x, more, tokens, width, &layer->output_norm, model->epsilon);
    if (next < model->layers + model->layer_count)
        project(run, next, first, tokens, room);
}

static void compute_many(Run *run, struct Pool *threads) {
    size_t blocks = rounded_up(rounded_up(run->tokens, BLOCK) / BLOCK, pool_threads(threads));
    run->block = (run->tokens + blocks - 1) / blocks;
    blocks = (run->tokens + run->block - 1) / run->block; /* rounding up may have left some with nothing to do */
    for (size_t number = 0; number < run->model->layer_count; number++) {
        run->layer = &run->model->layers[number];
        if (!number)
            pool_run(threads, blocks, begin, run);
        pool_run(threads, run->texts * run->model->heads, attend, run);
        pool_run(threads, blocks, go_on, run);
    }
}

/* With few tokens, each thread takes some rows of the weights. */

enum { ROWS_AT_ONCE = 96 };

typedef struct {
    const Run *run;
    const Linear *linears; /* all of the same shape */
    Activation activation;
    const float *x;
    Bytes bytes; /* x, if the weights are integers */
    float *const *y;
} Product;

static void multiply_rows(void *context, size_t index, size_t worker) {
    const Product *product = context;
    const Run *run = product->run;
    size_t out = product->linears->out, parts = (out + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE;
    size_t which = index / parts, first = index % parts * ROWS_AT_ONCE, last = smaller(first + ROWS_AT_ONCE, out);
    const Linear *linear = &product->linears[which];
    if (linear->weight.scale)
        run->lanes->linear8(linear, product->activation, &product->bytes, product->y[which], run->tokens, first, last,
                            (int8_t *)(run->room + worker * run->room_size));
    else
        run->lanes->linear(linear, product->activation, product->x, product->y[which], run->tokens, first, last);
}

static void multiply_together(const Run *run, struct Pool *threads, const Linear *linears, size_t count,
                              Activation activation, const float *x, float *const *y) {
    Product product = {.run = run, .linears = linears, .activation = activation, .x = x, .y = y};
    if (run->bytes) {
        product.bytes = bytes_in(run->bytes, run->tokens);
        run->lanes->quantise(x, run->tokens, linears->in, &product.bytes);
    }
    pool_run(threads, count * ((linears->out + ROWS_AT_ONCE - 1) / ROWS_AT_ONCE), multiply_rows, &product);
}

static void compute_few(Run *run, struct Pool *threads) {
    const Model *model = run->model;
    for (size_t number = 0; number < model->layer_count; number++) {
        const Layer *layer = run->layer = &model->layers[number];
        float *projected[] = {run->query, run->key, run->value};
        multiply_together(run, threads, layer->projections, 3, IDENTITY, run->x, projected);
        pool_run(threads, run->texts * model->heads, attend, run);
        /* The queries are not needed any more. */
        multiply_together(run, threads, &layer->attention_output, 1, IDENTITY, run->context, &run->query);
        run->lanes->add_and_normalise(run->x, run->query, run->tokens, model->width, &layer->attention_norm,
                                      model->epsilon);
        multiply_together(run, threads, &layer->up, 1, model->activation, run->x, &run->inner);
        multiply_together(run, threads, &layer->down, 1, IDENTITY, run->inner, &run->query);
        run->lanes->add_and_normalise(run->x, run->query, run->tokens, model->width, &layer->output_norm,
                                      model->epsilon);
    }
}

/* ---- From token vectors to the vector of a text ---- */

static void pool(Pooling pooling, const float *x, size_t length, size_t width, float *vector) {
    memcpy(vector, x, width * sizeof(float));
    if (pooling == CLS)
        return;
    for (size_t token = 1; token < length; token++) {
        const float *row = x + token * width;
        for (size_t i = 0; i < width; i++)
            if (pooling != MAX)
                vector[i] += row[i];
            else if (row[i] > vector[i] || row[i] != row[i])
                vector[i] = row[i];
    }
    if (pooling == MAX)
        return;
    float count = pooling == MEAN ? (float)length : sqrtf((float)length);
    for (size_t i = 0; i < width; i++)
        vector[i] /= count;
}

/* Columns that are added up together, in registers or nearly so. */
enum { COLUMNS_AT_ONCE = 64 };

/* The mean of the tokens' rows. A static model takes texts of any length, so the rows are not copied first, and sums of
 * so many have twice the digits. */
static void mean_of_rows(const Model *model, const uint32_t *tokens, size_t length, float *vector) {
    for (size_t first = 0; first < model->width; first += COLUMNS_AT_ONCE) {
        double sums[COLUMNS_AT_ONCE] = {0};
        size_t columns = smaller(COLUMNS_AT_ONCE, model->width - first);
        for (size_t token = 0; token < length; token++) {
            size_t at = tokens[token] * model->width + first;
            const float *row = (const float *)model->words.values + at;
            const uint16_t *halves = (const uint16_t *)model->words.values + at;
            if (model->words.floats == F32)
                for (size_t i = 0; i < columns; i++)
                    sums[i] += row[i];
            else
                for (size_t i = 0; i < columns; i++)
                    sums[i] += widened(model->words.floats, halves[i]);
        }
        for (size_t i = 0; i < columns; i++)
            vector[first + i] = (float)(sums[i] / (double)length);
    }
}

/* Pooling, then the Dense layers. Returns -1 if there is not enough memory. */
static int head(const Run *run, const uint32_t *tokens, float *vectors) {
    const Model *model = run->model;
    size_t width = model->width * model->pooling_count;
    float *now = calloc(run->texts * width + 1, sizeof(float));
    for (size_t text = 0; now && text < run->texts; text++)
        for (size_t i = 0; i < model->pooling_count && run->lengths[text]; i++) {
            float *vector = now + text * width + i * model->width;
            if (model->is_static)
                mean_of_rows(model, tokens + run->starts[text], run->lengths[text], vector);
            else
                pool(model->poolings[i], run->x + run->starts[text] * model->width, run->lengths[text], model->width, vector);
        }
    for (size_t i = 0; now && i < model->dense_count; i++) {
        const Dense *dense = &model->dense[i];
        float *next = malloc((run->texts * dense->linear.out + 1) * sizeof(float));
        if (next)
            run->lanes->linear(&dense->linear, dense->activation, now, next, run->texts, 0, dense->linear.out);
        free(now);
        now = next;
    }
    if (!now)
        return -1;
    for (size_t text = 0; text < run->texts; text++)
        if (run->lengths[text])
            memcpy(vectors + text * model->dimension, now + text * model->dimension, model->dimension * sizeof(float));
        else
            memset(vectors + text * model->dimension, 0, model->dimension * sizeof(float));
    free(now);
    return 0;
}

/* ---- Weights that are read for the first time ---- */

/* Linux maps so many bytes around a page that is read, if the page cache has them. */
enum { AROUND = 65536 };

static void touch_linear(const Linear *linear) {
    const volatile char *bytes = linear->weight.values;
    size_t size = linear->in * linear->out * (linear->weight.scale ? 1 : sizeof(float));
    for (size_t i = 0; i < size; i += AROUND)
        (void)bytes[i];
}

void touch(const Model *model) {
    for (size_t i = 0; i < model->layer_count; i++) {
        const Layer *layer = &model->layers[i];
        for (size_t j = 0; j < 3; j++)
            touch_linear(&layer->projections[j]);
        touch_linear(&layer->attention_output);
        touch_linear(&layer->up);
        touch_linear(&layer->down);
    }
}

/* ---- Everything ---- */

/* All layers' matrices are integers, or none is. */
static int has_integers(const Model *model) { return model->layer_count && model->layers[0].up.weight.scale; }

int encode(const Model *model, const Lanes *lanes, struct Pool *threads, const uint32_t *tokens, const size_t *lengths,
           size_t texts, float *vectors) {
    size_t width = model->width, total = 0, longest = 0;
    Run run = {.model = model, .lanes = lanes, .texts = texts, .lengths = lengths};
    float *biases = NULL;
    void *memory = NULL;
    int result = -1;
    size_t *starts = malloc((texts + 1) * sizeof *starts);
    if (!starts)
        return -1;
    for (size_t text = 0; text < texts; text++) {
        starts[text] = total;
        total += lengths[text];
        longest = larger(longest, lengths[text]);
    }
    run.starts = starts;
    run.tokens = total;
    run.longest = longest;
    if (model->is_static) {
        result = head(&run, tokens, vectors);
        goto done;
    }
    int is_few = total <= FEW;
    size_t matrix = rounded(total * width), inner = is_few ? rounded(total * model->inner) : 0, bytes = 0;
    size_t block = is_few ? 0 : BLOCK * (model->inner + width); /* for what one thread computes of finish */
    if (has_integers(model)) {
        lanes = run.lanes = lanes->in_8_bits;
        size_t widest = larger(width, model->inner);
        run.packed_size = rounded(lanes->packed_size(widest) / sizeof(float));
        bytes = is_few ? bytes_size(total, widest) : 0;
        run.bytes_size = is_few ? 0 : bytes_size(BLOCK, widest);
    }
    run.room_size = run.packed_size + run.bytes_size + block;
    run.room_size = rounded(larger(run.room_size, lanes->attend_scratch(longest, width / model->heads)));
    memory = malloc((5 * matrix + inner + bytes + run.room_size * pool_threads(threads)) * sizeof(float) + CACHE_LINE);
    if (!memory)
        goto done;
    if (model->relative_bias && longest) {
        run.biases = biases = relative_biases(model, longest);
        if (!biases)
            goto done;
    }
    run.x = (float *)(((uintptr_t)memory + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
    run.query = run.x + matrix;
    run.key = run.query + matrix;
    run.value = run.key + matrix;
    run.context = run.value + matrix;
    run.inner = run.context + matrix;
    run.bytes = bytes ? run.inner + inner : NULL;
    run.room = run.inner + inner + bytes;
    embed(&run, tokens);
    if (is_few)
        compute_few(&run, threads);
    else
        compute_many(&run, threads);
    result = head(&run, tokens, vectors);
done:
    free(biases);
    free(memory);
    free(starts);
    return result;
}
