/* The loops over numbers. Compiled once for each instruction set, see build.py.
 *
 * LANES are the numbers in a vector register. GCC and Clang turn arithmetic on such vectors into the instructions that
 * there are.
 *
 * A sum's order depends on the matrix's shape only, never on how many tokens are computed together. So a text has the
 * same vector, to the last bit, alone and in any batch, and with any number of threads.
 */
#include "encoder.h"

#include <math.h>
#include <string.h>
#if defined(FOR_AVX512) || defined(FOR_AVX2)
#include <cpuid.h>
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#if defined(FOR_VNNI)
#define NAME vnni
#define USABLE has_features(0xE6, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, 1u << 11) /* F, DQ, BW, VL; VNNI */
#elif defined(FOR_AVX512)
#define NAME avx512
#define USABLE has_features(0xE6, 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, 0)
#elif defined(FOR_AVX2)
#define LANES 8
#define NAME avx2
#define USABLE has_features(0x06, 1u << 5, 0) /* AVX2 */
#elif defined(FOR_EXACT)
#define LANES 4
#define NAME exact
#define USABLE 1
#else
#define LANES 4
#define NAME baseline
#define USABLE 1
#endif
#if defined(FOR_AVX512)
#define LANES 16
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

typedef float vec __attribute__((vector_size(LANES * 4)));
typedef int32_t ivec __attribute__((vector_size(LANES * 4)));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4)));

/* Rows and tokens of a tile of a product: as many sums as fit into the registers. */
enum { ROWS = 4, TOKENS = LANES == 16 ? 6 : 3 };

/* Lanes, and single bytes, from two vectors. */
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define MIX(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#define MIX(a, b, ...) __builtin_shuffle(a, b, (sixteen){__VA_ARGS__})
#endif

static inline size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

static inline vec load(const float *from) {
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

static inline void store(float *to, vec v) { memcpy(to, &v, sizeof v); }

/* The first count numbers of a vector, the others 0. Reads nothing behind them. */
static inline vec load_part(const float *from, size_t count) {
    if (count == LANES)
        return load(from);
    vec v = {0};
    memcpy(&v, from, count * sizeof(float));
    return v;
}

static inline void store_part(float *to, vec v, size_t count) {
    if (count == LANES)
        store(to, v);
    else
        memcpy(to, &v, count * sizeof(float));
}

static inline vec all(float number) { return (vec){0} + number; }

/* a * b + c, rounded once where the processor can. Not left to the compiler, which may do one here and the other there. */
static inline vec multiply_add(vec a, vec b, vec c) {
#if defined(FOR_AVX512)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(FOR_AVX2)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__ARM_NEON)
    return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* The same for what lies between products in 8 bits, where one bit may decide which integer a number becomes: FOR_EXACT,
 * processors that round twice go by way of float64, where the product is exact. The sum is then rounded to float64 first,
 * which changes the result once in some hundred million times. In float32 that would be a waste of time. */
static inline vec fused(vec a, vec b, vec c) {
#if !defined(FOR_EXACT)
    return multiply_add(a, b, c);
#else
    typedef double exact __attribute__((vector_size(LANES * 8)));
    exact sum = __builtin_convertvector(a, exact) * __builtin_convertvector(b, exact) + __builtin_convertvector(c, exact);
    return __builtin_convertvector(sum, vec);
#endif
}

/* Where the mask is set (all bits), a, otherwise b. */
static inline vec choose(ivec mask, vec a, vec b) { return (vec)(((ivec)a & mask) | ((ivec)b & ~mask)); }

static inline vec larger(vec a, vec b) { return choose(a > b, a, b); }

typedef float four __attribute__((vector_size(16)));

/* The sums of four vectors. Pairs of lanes are added, always the same: i and i + LANES / 2, and so on. */
static inline four add_lanes(vec a, vec b, vec c, vec d) {
#if LANES == 16
    vec ab = SHUFFLE(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
             SHUFFLE(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    vec cd = SHUFFLE(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
             SHUFFLE(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    vec abcd = SHUFFLE(ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
               SHUFFLE(ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    abcd += SHUFFLE(abcd, abcd, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    abcd += SHUFFLE(abcd, abcd, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    abcd = SHUFFLE(abcd, abcd, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
#elif LANES == 8
    vec ab = SHUFFLE(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    vec cd = SHUFFLE(c, d, 0, 1, 2, 3, 8, 9, 10, 11) + SHUFFLE(c, d, 4, 5, 6, 7, 12, 13, 14, 15);
    vec abcd = SHUFFLE(ab, cd, 0, 1, 4, 5, 8, 9, 12, 13) + SHUFFLE(ab, cd, 2, 3, 6, 7, 10, 11, 14, 15);
    abcd += SHUFFLE(abcd, abcd, 1, 0, 3, 2, 5, 4, 7, 6);
    abcd = SHUFFLE(abcd, abcd, 0, 2, 4, 6, 0, 2, 4, 6);
#else
    vec ab = SHUFFLE(a, b, 0, 1, 4, 5) + SHUFFLE(a, b, 2, 3, 6, 7);
    vec cd = SHUFFLE(c, d, 0, 1, 4, 5) + SHUFFLE(c, d, 2, 3, 6, 7);
    vec abcd = SHUFFLE(ab, cd, 0, 2, 4, 6) + SHUFFLE(ab, cd, 1, 3, 5, 7);
#endif
    four sums;
    memcpy(&sums, &abcd, sizeof sums);
    return sums;
}

static inline float add_up(vec a) { return add_lanes(a, a, a, a)[0]; }

/* Long sums are in 16 lanes, in one register or several: so the same pairs are added with each instruction set. */
enum { SUMS = 16, PARTS = SUMS / LANES };

static inline float add_up_all(const vec *sums) {
#if LANES == 16
    return add_up(sums[0]);
#elif LANES == 8
    return add_up(sums[0] + sums[1]);
#else
    return add_up((sums[0] + sums[2]) + (sums[1] + sums[3]));
#endif
}

/* e^x within 2 units in the last place; 0 below -87, where it would be too small to matter, and infinite above 88.
 *
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by a polynomial (the coefficients of Cephes' expf, Moshier 1989), and 2^n
 * through the exponent's bits. Adding and subtracting 1.5 * 2^23 rounds to an integer. */
static inline vec exponential(vec x) {
    const vec magic = all(12582912.0f);
    vec within = larger(all(-87.0f), choose(x > all(88.0f), all(88.0f), x));
    vec shifted = fused(within, all(1.44269504088896341f), magic);
    vec n = shifted - magic;
    vec r = fused(n, all(-0.693359375f), within);
    r = fused(n, all(2.12194440e-4f), r);
    vec p = all(1.9875691500e-4f);
    p = fused(p, r, all(1.3981999507e-3f));
    p = fused(p, r, all(8.3334519073e-3f));
    p = fused(p, r, all(4.1665795894e-2f));
    p = fused(p, r, all(1.6666665459e-1f));
    p = fused(p, r, all(5.0000001201e-1f));
    p = fused(p, r * r, r) + 1.0f;
    p = (vec)((ivec)p + (((ivec)shifted - (ivec)magic) << 23));
    p = choose(x < all(-87.0f), all(0.0f), p);
    p = choose(x > all(88.0f), all(INFINITY), p);
    return choose(x == x, p, x); /* not a number stays so */
}

/* x * Phi(x) as loader/encoder/forward.py computes it: Phi(x) = (1 + tanh u) / 2 = 1 / (1 + e^(-2u)), u = x P(x^2). */
static inline vec gelu(vec x) {
    vec square = x * x;
    vec p = all(1.99591119e-09f);
    p = fused(p, square, all(-1.41107027e-07f));
    p = fused(p, square, all(4.08202524e-06f));
    p = fused(p, square, all(-5.60041075e-05f));
    p = fused(p, square, all(-3.06972320e-05f));
    p = fused(p, square, all(3.63309637e-02f));
    p = fused(p, square, all(7.97885638e-01f));
    return x / (1.0f + exponential(-2.0f * (x * p)));
}

/* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
static inline vec gelu_tanh(vec x) {
    vec u = x * (1.0f + 0.044715f * (x * x)) * 0.79788456080286536f;
    return x / (1.0f + exponential(-2.0f * u));
}

/* 1 - 2 / (e^(2|x|) + 1), with x's sign; near 0, where that would cancel, x - x^3 / 3 + 2 x^5 / 15 - 17 x^7 / 315. */
static inline vec hyperbolic_tangent(vec x) {
    vec size = larger(x, -x);
    vec far = 1.0f - 2.0f / (exponential(2.0f * size) + 1.0f);
    far = choose(x < all(0.0f), -far, far);
    vec square = x * x;
    vec near = x + x * square * (-0.33333333f + square * (0.13333333f + square * -0.053968254f));
    return choose(size < all(0.1f), near, far);
}

static inline vec activated(Activation activation, vec x) {
    switch (activation) {
    case GELU:
        return gelu(x);
    case GELU_TANH:
        return gelu_tanh(x);
    case RELU:
        return larger(all(0.0f), x); /* in this order, not a number stays so */
    case TANH:
        return hyperbolic_tangent(x);
    default:
        return x;
    }
}

/* ---- Linear layers ---- */

/* Numbers of a row that are multiplied before the next row's: some rows of x and of W stay in the first-level cache. */
enum { STRETCH = 768 };
/* Rows of W that all tokens are multiplied by before the next ones: they stay in the second-level cache. */
enum { PANEL = 32 };

/* Adds the products of a stretch of up to ROWS rows of W and exactly `tokens` rows of x to y. Inlined for each number of
 * tokens, so that the sums are in registers. If ahead is not 0, fetches what lies so many numbers behind the weights. */
static inline __attribute__((always_inline)) void tile(const float *const *w, const float *x, size_t in, size_t count,
                                                       float *y, size_t out, size_t rows, const size_t tokens,
                                                       size_t ahead) {
    vec sums[ROWS][TOKENS] = {{{0}}};
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (size_t r = 0; r < ROWS; r++) {
            vec weights = load(w[r] + i);
            if (ahead)
                __builtin_prefetch((const char *)(w[r] + i) + ahead, 0, 2);
            for (size_t t = 0; t < tokens; t++)
                sums[r][t] = multiply_add(weights, load(x + t * in + i), sums[r][t]);
        }
#pragma GCC unroll 8
    for (size_t t = 0; t < tokens; t++) {
        four found = add_lanes(sums[0][t], sums[1][t], sums[2][t], sums[3][t]), before = {0};
        if (rows == ROWS) {
            memcpy(&before, y + t * out, sizeof before);
            before += found;
            memcpy(y + t * out, &before, sizeof before);
        } else {
            for (size_t r = 0; r < rows; r++)
                y[t * out + r] += found[r];
        }
    }
    if (i < count) /* a width that the registers do not divide */
        for (size_t t = 0; t < tokens; t++)
            for (size_t r = 0; r < rows; r++) {
                float sum = 0.0f;
                for (size_t j = i; j < count; j++)
                    sum += w[r][j] * x[t * in + j];
                y[t * out + r] += sum;
            }
}

static inline __attribute__((always_inline)) void tile_of(size_t tokens, const float *const *w, const float *x, size_t in,
                                                          size_t count, float *y, size_t out, size_t rows,
                                                          size_t ahead) {
#define CASE(number)                                                                                                         \
    case number:                                                                                                             \
        tile(w, x, in, count, y, out, rows, number, ahead);                                                                  \
        break;
    switch (tokens) {
        CASE(1)
        CASE(2)
#if LANES == 16
        CASE(3)
        CASE(4)
        CASE(5)
#endif
        CASE(TOKENS)
    }
#undef CASE
}

static void multiply(const float *w, const float *x, float *y, size_t tokens, size_t in, size_t out, size_t begin,
                     size_t end) {
    /* Weights come from far away: from memory, or from a cache that all processors share. The first tokens that need them
     * fetch those needed next: the next panel, or, if there are no other tokens, those of three tiles later. */
    size_t ahead = (tokens > TOKENS ? PANEL : 3 * ROWS) * in * sizeof(float);
    for (size_t first = begin; first < end; first += PANEL) {
        size_t last = smaller(first + PANEL, end);
        for (size_t start = 0; start < in; start += STRETCH) {
            size_t count = smaller(STRETCH, in - start);
            for (size_t t = 0; t < tokens; t += TOKENS)
                for (size_t r = first; r < last; r += ROWS) {
                    /* A tile always has ROWS rows: the last one stands in for those that do not exist. */
                    size_t rows = smaller(ROWS, last - r), some = smaller(TOKENS, tokens - t);
                    const float *row[ROWS];
                    for (size_t i = 0; i < ROWS; i++)
                        row[i] = w + (r + smaller(i, rows - 1)) * in + start;
                    if (t)
                        tile_of(some, row, x + t * in + start, in, count, y + t * out + r, out, rows, 0);
                    else
                        tile_of(some, row, x + start, in, count, y + r, out, rows, ahead);
                }
        }
    }
}

static void linear(const Linear *layer, Activation activation, const float *x, float *y, size_t tokens, size_t first,
                   size_t last) {
    size_t in = layer->in, out = layer->out;
    for (size_t t = 0; t < tokens; t++)
        memset(y + t * out + first, 0, (last - first) * sizeof(float));
    multiply(layer->weight.values, x, y, tokens, in, out, first, last);
    for (size_t t = 0; t < tokens; t++) {
        float *row = y + t * out;
        for (size_t i = first; i < last; i += LANES) {
            size_t count = smaller(LANES, last - i);
            vec v = load_part(row + i, count);
            if (layer->bias)
                v += load_part(layer->bias + i, count);
            store_part(row + i, activated(activation, v), count);
        }
    }
}

#include "eight.h"

/* ---- Normalisation ---- */

static void add_and_normalise(float *x, const float *more, size_t tokens, size_t width, const Norm *norm,
                              float epsilon) {
    for (size_t t = 0; t < tokens; t++, x += width) {
        vec sum[PARTS] = {{0}}, squares[PARTS] = {{0}};
        for (size_t start = 0; start < width; start += SUMS)
            for (size_t part = 0, i = start; part < PARTS && i < width; part++, i += LANES) {
                size_t count = smaller(LANES, width - i);
                vec v = load_part(x + i, count);
                if (more) {
                    v += load_part(more + t * width + i, count);
                    store_part(x + i, v, count);
                }
                sum[part] += v;
            }
        float mean = add_up_all(sum) / (float)width;
        for (size_t start = 0; start < width; start += SUMS)
            for (size_t part = 0, i = start; part < PARTS && i < width; part++, i += LANES) {
                size_t count = smaller(LANES, width - i);
                vec v = load_part(x + i, count) - mean;
                if (count < LANES) /* the lanes that do not exist are not -mean, but 0 */
                    v = load_part((const float *)&v, count);
                squares[part] = fused(v, v, squares[part]);
            }
        float factor = 1.0f / sqrtf(add_up_all(squares) / (float)width + epsilon);
        for (size_t i = 0; i < width; i += LANES) {
            size_t count = smaller(LANES, width - i);
            vec v = (load_part(x + i, count) - mean) * factor;
            v = fused(v, load_part(norm->gain + i, count), load_part(norm->shift + i, count));
            store_part(x + i, v, count);
        }
    }
}

/* ---- Attention ---- */

/* Queries that are computed together: with two registers of keys each, as many sums as keep the processor busy. */
enum { QUERIES = LANES == 16 ? 8 : 4 };

static size_t padded(size_t length) { return (length + LANES - 1) / LANES * LANES; }

static size_t attend_scratch(size_t length, size_t size) { return padded(length) * (size + QUERIES); }

/* Scores become e^(score - largest); returns the inverse of their sum. Behind the text, scores are 0. */
static float soften(float *scores, size_t length) {
    vec most = all(scores[0]);
    size_t i = 0;
    for (; i + LANES <= length; i += LANES)
        most = larger(load(scores + i), most);
    for (; i < length; i++)
        most = larger(all(scores[i]), most);
    float largest = most[0];
    for (int lane = 1; lane < LANES; lane++)
        largest = most[lane] > largest ? most[lane] : largest;
    vec sum[PARTS] = {{0}};
    for (size_t start = 0; start < length; start += SUMS)
        for (size_t part = 0, at = start; part < PARTS && at < length; part++, at += LANES) {
            size_t count = smaller(LANES, length - at);
            vec v = exponential(load(scores + at) - largest);
            if (count < LANES)
                v = load_part((const float *)&v, count);
            store(scores + at, v);
            sum[part] += v;
        }
    return 1.0f / add_up_all(sum);
}

/* c (QUERIES, columns) = a (QUERIES, count) b (count, columns), for up to 2 LANES columns. */
static inline __attribute__((always_inline)) void broadcast(const float *const *a, const float *b, size_t b_stride,
                                                            size_t count, vec (*c)[2], size_t columns) {
    for (size_t q = 0; q < QUERIES; q++)
        c[q][0] = c[q][1] = all(0.0f);
    for (size_t i = 0; i < count; i++) {
        vec left, right = {0};
        if (columns == 2 * LANES) {
            left = load(b + i * b_stride);
            right = load(b + i * b_stride + LANES);
        } else if (columns == LANES) {
            left = load(b + i * b_stride);
        } else {
            left = load_part(b + i * b_stride, smaller(columns, LANES));
            if (columns > LANES)
                right = load_part(b + i * b_stride + LANES, columns - LANES);
        }
        for (size_t q = 0; q < QUERIES; q++) {
            c[q][0] = fused(all(a[q][i]), left, c[q][0]);
            if (columns > LANES)
                c[q][1] = fused(all(a[q][i]), right, c[q][1]);
        }
    }
}

static void product(const float *const *a, const float *b, size_t b_stride, size_t count, vec (*c)[2], size_t columns) {
    if (columns == 2 * LANES)
        broadcast(a, b, b_stride, count, c, 2 * LANES);
    else if (columns == LANES)
        broadcast(a, b, b_stride, count, c, LANES);
    else
        broadcast(a, b, b_stride, count, c, columns);
}

static void attend(const float *query, const float *key, const float *value, float *context, size_t length, size_t size,
                   size_t width, const float *bias, float *scratch) {
    size_t stride = padded(length);
    float *keys = scratch, *scores = scratch + stride * size; /* keys (size, length), scores (QUERIES, length) */
    float factor = 1.0f / sqrtf((float)size);
    for (size_t j = 0; j < length; j += LANES) /* a few rows at a time: all of them would not fit into the cache */
        for (size_t i = 0; i < size; i++) {
            vec column = {0};
            for (size_t lane = 0; lane < smaller(LANES, length - j); lane++)
                column[lane] = key[(j + lane) * width + i];
            store(keys + i * stride + j, column * factor);
        }
    for (size_t first = 0; first < length; first += QUERIES) {
        size_t queries = smaller(QUERIES, length - first);
        const float *rows[QUERIES];
        float inverse[QUERIES] = {0};
        vec found[QUERIES][2];
        for (size_t q = 0; q < QUERIES; q++) /* the last query stands in for those that do not exist */
            rows[q] = query + (first + smaller(q, queries - 1)) * width;
        for (size_t j = 0; j < stride; j += 2 * LANES) {
            size_t columns = smaller(2 * LANES, stride - j);
            product(rows, keys + j, stride, size, found, columns);
            for (size_t q = 0; q < queries; q++) {
                store(scores + q * stride + j, found[q][0]);
                if (columns > LANES)
                    store(scores + q * stride + j + LANES, found[q][1]);
            }
        }
        for (size_t q = 0; q < queries; q++) {
            float *row = scores + q * stride;
            if (bias) {
                const float *of_distance = bias - (ptrdiff_t)(first + q);
                for (size_t j = 0; j < length; j++)
                    row[j] += of_distance[j];
            }
            inverse[q] = soften(row, length);
        }
        for (size_t q = 0; q < QUERIES; q++)
            rows[q] = scores + smaller(q, queries - 1) * stride;
        for (size_t i = 0; i < size; i += 2 * LANES) {
            size_t columns = smaller(2 * LANES, size - i);
            product(rows, value + i, width, length, found, columns);
            for (size_t q = 0; q < queries; q++) {
                float *to = context + (first + q) * width + i;
                store_part(to, found[q][0] * inverse[q], smaller(LANES, columns));
                if (columns > LANES)
                    store_part(to + LANES, found[q][1] * inverse[q], columns - LANES);
            }
        }
    }
}

/* ---- Nearest neighbours ---- */

static void dot_rows(const float *query, const char *rows, size_t count, size_t width, float *products) {
    for (size_t row = 0; row < count; row++, rows += width * sizeof(float)) {
        vec sums[4] = {{0}};
        size_t i = 0;
        for (; i + 4 * LANES <= width; i += 4 * LANES)
            for (size_t part = 0; part < 4; part++) {
                vec v;
                memcpy(&v, rows + (i + part * LANES) * sizeof(float), sizeof v); /* need not be aligned */
                sums[part] = multiply_add(v, load(query + i + part * LANES), sums[part]);
            }
        for (size_t part = 0; i < width; i += LANES, part++) {
            size_t there = smaller(LANES, width - i);
            vec v = {0};
            memcpy(&v, rows + i * sizeof(float), there * sizeof(float));
            sums[part] = multiply_add(v, load_part(query + i, there), sums[part]);
        }
        products[row] = add_up((sums[0] + sums[1]) + (sums[2] + sums[3]));
    }
}

/* ---- Searching ---- */

typedef int8_t wide __attribute__((vector_size(LANES * 4)));
typedef int64_t words __attribute__((vector_size(LANES * 4)));

/* Where the first two and the last two bytes of a piece are, at so many places at once. */
static inline wide ends_match(const char *at, const char *piece, size_t size) {
    size_t offsets[4] = {0, 1, size - 2, size - 1};
    wide match = (wide){0} == (wide){0};
    for (size_t i = 0; i < 4; i++) {
        wide there;
        memcpy(&there, at + offsets[i], sizeof there);
        match &= there == (wide){0} + (int8_t)piece[offsets[i]];
    }
    return match;
}

/* From the end on, many places at once, looking closer only where the ends of the piece are. */
static const char *find_last(const char *text, size_t length, const char *piece, size_t size) {
    enum { AT_ONCE = 4 };
    if (!size || size > length)
        return NULL;
    size_t places = length - size + 1, stride = AT_ONCE * sizeof(wide);
    for (; size > 1 && places >= stride; places -= stride) {
        const char *at = text + places - stride;
        wide match = ends_match(at, piece, size);
        for (size_t i = 1; i < AT_ONCE; i++)
            match |= ends_match(at + i * sizeof(wide), piece, size);
        int64_t any = 0;
        for (size_t i = 0; i < sizeof(wide) / 8; i++)
            any |= ((words)match)[i];
        for (size_t i = stride; any && i-- > 0;)
            if (at[i] == piece[0] && !memcmp(at + i, piece, size))
                return at + i;
    }
    while (places-- > 0)
        if (text[places] == piece[0] && !memcmp(text + places, piece, size))
            return text + places;
    return NULL;
}

#if defined(FOR_AVX512) || defined(FOR_AVX2)
/* Whether the processor has FMA and the features of these bits of CPUID's leaf 7 (EBX and ECX), and the system saves the
 * registers of these bits of XCR0. Asked here, because __builtin_cpu_supports says no to everything where zig is the
 * compiler. */
static int has_features(unsigned registers, unsigned features, unsigned more) {
    const unsigned fma = 1u << 12, osxsave = 1u << 27;
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (fma | osxsave)) != (fma | osxsave))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & registers) == registers && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & features) == features &&
           (c & more) == more;
}
#endif

static int is_usable(void) { return USABLE; }

extern const Lanes JOIN(lanes, NAME);
#if defined(__x86_64__) && LANES == 4
extern const Lanes lanes_exact;
#define IN_8_BITS lanes_exact
#else
#define IN_8_BITS JOIN(lanes, NAME)
#endif
const Lanes JOIN(lanes, NAME) = {
    TEXT(NAME), is_usable,         linear, quantise,       linear8,  packed_size,
    &IN_8_BITS, add_and_normalise, attend, attend_scratch, dot_rows, find_last,
};
