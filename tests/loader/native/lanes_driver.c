/* Compares what is computed in 8 bits, and between products, by all instruction sets that this processor has: every bit must
 * be the same.
 *
 * Prints their names, and a hash of all results to compare with other processors.
 */
#include "encoder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t state = 1;

static uint32_t random_number(uint32_t below) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % below;
}

static void *allocated(size_t size) {
    void *memory = malloc(size + 1);
    if (!memory)
        exit(3);
    return memory;
}

typedef struct {
    size_t in, out, tokens;
    int8_t *weights, *packed;
    float *scales, *bias, *x, *y;
    Bytes bytes;
} Case;

/* Of two weights of the same sign in a group of four inputs, the sum is at most 128: see loader/artifacts/quantize.py. */
static int8_t weight(size_t kind, size_t row) {
    static const int8_t extreme[] = {127, -127, 1, -1};
    if (kind == 0)
        return extreme[row % 4];
    return (int8_t)((int)random_number(129) - 64);
}

static Case made(size_t in, size_t out, size_t tokens, size_t kind, const Lanes *lanes) {
    Case c = {.in = in, .out = out, .tokens = tokens};
    size_t padded = (in + 3) / 4 * 4;
    c.weights = allocated(in * out);
    c.packed = allocated(lanes->packed_size(in));
    c.scales = allocated(out * sizeof(float));
    c.bias = allocated(out * sizeof(float));
    c.x = allocated(tokens * in * sizeof(float));
    c.y = allocated(tokens * out * sizeof(float));
    c.bytes = (Bytes){allocated(tokens * padded), allocated(tokens * sizeof(float)), allocated(tokens * sizeof(int32_t))};
    for (size_t row = 0; row < in; row++)
        for (size_t column = 0; column < out; column++)
            c.weights[row * out + column] = weight(kind, row);
    for (size_t i = 0; i < out; i++) {
        c.scales[i] = (float)(1 + random_number(1000)) / 1e5f;
        c.bias[i] = (float)random_number(1000) / 1e3f - 0.5f;
    }
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < in; i++) {
            float number = (float)random_number(100000) / 3e4f - 1.0f;
            if (kind == 0)
                number = i % 4 == 1 ? -1e-3f : 1.0f; /* one end of the scale almost everywhere */
            c.x[t * in + i] = t == 7 ? 0.0f : t == 8 && i == in / 2 ? NAN : number;
        }
    return c;
}

static void freed(Case *c) {
    void *all[] = {c->weights, c->packed, c->scales, c->bias, c->x, c->y, c->bytes.values, c->bytes.scales, c->bytes.shifts};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void multiplied(const Lanes *lanes, Case *c) {
    Linear linear = {{c->weights, c->scales}, c->bias, c->in, c->out};
    lanes->quantise(c->x, c->tokens, c->in, &c->bytes);
    Activation activation = (Activation)(c->in % 4); /* of all but the hyperbolic tangent, which only Dense layers have */
    lanes->linear8(&linear, activation, &c->bytes, c->y, c->tokens, 0, c->out, c->packed);
}

/* Attention of one head of size out over so many tokens, and normalisation; in is not used. Results are in y. */
static void attended(const Lanes *lanes, Case *c) {
    size_t size = c->out, length = c->tokens;
    float *more = allocated(length * size * sizeof(float));
    float *scratch = allocated((lanes->attend_scratch(length, size) + 16) * sizeof(float));
    float *aligned = (float *)(((uintptr_t)scratch + 63) / 64 * 64);
    Norm norm = {c->scales, c->bias};
    for (size_t i = 0; i < length * size; i++)
        more[i] = c->x[i % (length * c->in)] == c->x[i % (length * c->in)] ? c->x[i % (length * c->in)] : 1.0f;
    lanes->attend(more, more, more, c->y, length, size, size, NULL, aligned);
    lanes->add_and_normalise(c->y, more, length, size, &norm, 1e-12f);
    free(more);
    free(scratch);
}

/* Fowler, Noll and Vo's hash, FNV-1a, of numbers; all that are no numbers are alike. */
static void hash(uint32_t *hash, const float *numbers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = 0x7FC00000u;
        if (numbers[i] == numbers[i])
            memcpy(&bits, &numbers[i], sizeof bits);
        *hash = (*hash ^ bits) * 16777619u;
    }
}

static int same(const float *found, const float *wanted, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (memcmp(&found[i], &wanted[i], sizeof(float)) && (found[i] == found[i] || wanted[i] == wanted[i])) {
            printf("number %zu is %.9g, not %.9g: ", i, (double)found[i], (double)wanted[i]);
            return 0;
        }
    return 1;
}

static int differs(const Lanes *lanes, const Lanes *from, uint32_t *results) {
    static const size_t ins[] = {1, 3, 4, 5, 31, 64, 383, 384, 1536}, outs[] = {1, 7, 16, 17, 63, 64, 65, 130};
    static void (*const computed[])(const Lanes *, Case *) = {multiplied, attended};
    for (size_t i = 0; i < sizeof ins / sizeof *ins; i++)
        for (size_t o = 0; o < sizeof outs / sizeof *outs; o++)
            for (size_t tokens = 1; tokens < 40; tokens += tokens < 10 ? 1 : 13)
                for (size_t kind = 0; kind < 4; kind++) {
                    Case c = made(ins[i], outs[o], tokens, kind % 2, from);
                    size_t count = tokens * c.out;
                    float *first = allocated(count * sizeof(float));
                    computed[kind / 2](from, &c);
                    memcpy(first, c.y, count * sizeof(float));
                    free(c.packed);
                    c.packed = allocated(lanes->packed_size(c.in));
                    memset(c.y, 1, count * sizeof(float));
                    computed[kind / 2](lanes, &c);
                    hash(results, c.y, count);
                    if (!same(c.y, first, count)) {
                        printf("%s, %zu x %zu, %zu tokens, kind %zu\n", lanes->name, c.in, c.out, tokens, kind);
                        return 1;
                    }
                    free(first);
                    freed(&c);
                }
    return 0;
}

int main(void) {
    const Lanes *last = NULL;
    for (size_t i = 0; ALL_LANES[i]; i++)
        last = ALL_LANES[i]->in_8_bits;
    for (size_t i = 0; ALL_LANES[i]; i++) {
        uint32_t results = 2166136261u;
        state = 1;
        if (!ALL_LANES[i]->is_usable())
            continue;
        if (differs(ALL_LANES[i]->in_8_bits, last, &results))
            return 1;
        printf("%s %08x\n", ALL_LANES[i]->name, (unsigned)results);
    }
    return 0;
}
