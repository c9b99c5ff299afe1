/* The loops over numbers. Compiled once for each instruction set, see build.py.
 *
 * LANES are the numbers in a vector register. GCC and Clang turn arithmetic on such vectors into the instructions that
 * there are.
 *
 * A sum's order depends on the matrix's shape only, never on how many tokens are computed together or how many lanes there
 * are. So a text has the same vector, to the last bit, alone and in any batch, with any number of threads, and with every
 * instruction set that rounds a * b + c once.
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

static inline vec all(float number) { return number - (vec){0}; }

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

/* A mask of the first lanes. */
static inline ivec first_lanes(size_t count) {
#if LANES == 16
    return (ivec){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} < (int)count;
#elif LANES == 8
    return (ivec){0, 1, 2, 3, 4, 5, 6, 7} < (int)count;
#else
    return (ivec){0, 1, 2, 3} < (int)count;
#endif
}

/* One number of all lanes. Pairs of lanes are joined, always the same: i and i + LANES / 2, and so on. */
#if LANES == 16
#define JOIN_LANES(join, v)                                                                                                  \
    v = join(v, SHUFFLE(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));                                        \
    v = join(v, SHUFFLE(v, v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));                                        \
    v = join(v, SHUFFLE(v, v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));                                        \
    v = join(v, SHUFFLE(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
#elif LANES == 8
#define JOIN_LANES(join, v)                                                                                                  \
    v = join(v, SHUFFLE(v, v, 4, 5, 6, 7, 0, 1, 2, 3));                                                                      \
    v = join(v, SHUFFLE(v, v, 2, 3, 0, 1, 6, 7, 4, 5));                                                                      \
    v = join(v, SHUFFLE(v, v, 1, 0, 3, 2, 5, 4, 7, 6));
#else
#define JOIN_LANES(join, v)                                                                                                  \
    v = join(v, SHUFFLE(v, v, 2, 3, 0, 1));                                                                                  \
    v = join(v, SHUFFLE(v, v, 1, 0, 3, 2));
#endif

static inline vec sum_of(vec a, vec b) { return a + b; }

static inline float add_up(vec v) {
    JOIN_LANES(sum_of, v)
    return v[0];
}

static inline float largest_lane(vec v) {
    JOIN_LANES(larger, v)
    return v[0];
}

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

/* Columns of y and tokens of a tile of a product: as many sums as fit into the registers, in two vectors for each token. */
enum { PANEL = 2 * LANES, TOKENS = LANES == 16 ? 12 : 6 };
/* Numbers of a row that are summed up before they are added to what earlier ones gave: a panel of the weights, so many
 * numbers of PANEL rows, stays in the first-level cache. The same for all instruction sets, as is the order of the
 * sums. */
enum { STRETCH = 256 };

/* Pairs of lanes from two vectors, in each four lanes: the first and the second two of single numbers, and of pairs. */
#if LANES == 16
#define LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define HIGH(a, b) SHUFFLE(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define LOW_PAIRS(a, b) SHUFFLE(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define HIGH_PAIRS(a, b) SHUFFLE(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#elif LANES == 8
#define LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define HIGH(a, b) SHUFFLE(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define LOW_PAIRS(a, b) SHUFFLE(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define HIGH_PAIRS(a, b) SHUFFLE(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#else
#define LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#define LOW_PAIRS(a, b) SHUFFLE(a, b, 0, 1, 4, 5)
#define HIGH_PAIRS(a, b) SHUFFLE(a, b, 2, 3, 6, 7)
#endif

/* Four numbers of row r, and of each fourth row after it. ROW(r) is where they begin. */
#if LANES == 16
#define FOUR(ROW, r)                                                                                                         \
    (vec) _mm512_insertf32x4(                                                                                                \
        _mm512_insertf32x4(_mm512_insertf32x4(_mm512_castps128_ps512(_mm_loadu_ps(ROW(r))), _mm_loadu_ps(ROW(r + 4)), 1),    \
                           _mm_loadu_ps(ROW(r + 8)), 2),                                                                     \
        _mm_loadu_ps(ROW(r + 12)), 3)
#elif LANES == 8
#define FOUR(ROW, r)                                                                                                         \
    (vec) _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(ROW(r))), _mm_loadu_ps(ROW(r + 4)), 1)
#else
#define FOUR(ROW, r) load(ROW(r))
#endif

/* Makes the four numbers of LANES rows the columns of four vectors. */
#define TRANSPOSE(ROW, columns) transpose(FOUR(ROW, 0), FOUR(ROW, 1), FOUR(ROW, 2), FOUR(ROW, 3), columns)

static inline void transpose(vec a, vec b, vec c, vec d, vec *columns) {
    vec ab = LOW(a, b), cd = LOW(c, d), ab2 = HIGH(a, b), cd2 = HIGH(c, d);
    columns[0] = LOW_PAIRS(ab, cd);
    columns[1] = HIGH_PAIRS(ab, cd);
    columns[2] = LOW_PAIRS(ab2, cd2);
    columns[3] = HIGH_PAIRS(ab2, cd2);
}

/* Makes PANEL rows the columns of a panel (count, PANEL). Half of them at a time: a cache has not enough lines for more
 * where rows are a multiple of 4 KiB apart. */
static void pack_panel(const float *const *rows, size_t count, float *panel) {
    size_t whole = count / 4 * 4;
    for (size_t half = 0; half < PANEL; half += LANES)
        for (size_t i = 0; i < whole; i += 4) {
            vec columns[4];
#define ROW(r) (rows[half + (r)] + i)
            TRANSPOSE(ROW, columns);
#undef ROW
            for (size_t j = 0; j < 4; j++)
                store(panel + (i + j) * PANEL + half, columns[j]);
        }
    for (size_t i = whole; i < count; i++)
        for (size_t r = 0; r < PANEL; r++)
            panel[i * PANEL + r] = rows[r][i];
}

/* Numbers in a line of a cache. */
enum { LINE = 16 };

/* Adds the products of exactly `tokens` rows of x and PANEL rows of w, without a panel: for so few tokens, making one takes
 * longer than what it is for. The sums are the same. */
static inline __attribute__((always_inline)) void tile_of_rows(const float *w, const float *x, size_t in, size_t count,
                                                               float *y, size_t out, int first, const float *next,
                                                               const size_t tokens) {
    vec sums[TOKENS][2];
#pragma GCC unroll 16
    for (size_t t = 0; t < tokens; t++)
        sums[t][0] = sums[t][1] = (vec){0};
    for (size_t line = 0; line < count; line += LINE) { /* half of the rows at a time, as in pack_panel */
#pragma GCC unroll 2
        for (size_t half = 0; half < 2; half++)
            for (size_t i = line; i < line + LINE; i += 4) {
                vec columns[4];
#define ROW(r) (w + (half * LANES + (r)) * in + i)
                TRANSPOSE(ROW, columns);
#undef ROW
#pragma GCC unroll 4
                for (size_t j = 0; j < 4; j++)
#pragma GCC unroll 16
                    for (size_t t = 0; t < tokens; t++)
                        sums[t][half] = fused(all(x[t * in + i + j]), columns[j], sums[t][half]);
            }
        for (size_t r = 0; next && r < PANEL; r++)
            __builtin_prefetch(next + line * PANEL + r * LINE, 0, 2);
    }
#pragma GCC unroll 16
    for (size_t t = 0; t < tokens; t++)
#pragma GCC unroll 2
        for (size_t half = 0; half < 2; half++) {
            float *to = y + t * out + half * LANES;
            store(to, first ? sums[t][half] : sums[t][half] + load(to));
        }
}

/* Adds the products of exactly `tokens` rows of x (tokens, count) and a panel (count, PANEL) to `columns` columns of y, or
 * puts them there if they are the first ones. Inlined for each number of tokens, so that the sums are in registers. If next
 * is not NULL, fetches as many numbers from there on as the panel has: weights that will be needed soon. */
static inline __attribute__((always_inline)) void tile(const float *panel, size_t stride, const float *x, size_t in,
                                                       size_t count, float *y, size_t out, size_t columns, int first,
                                                       const float *next, const size_t tokens) {
    vec sums[TOKENS][2];
#pragma GCC unroll 16
    for (size_t t = 0; t < tokens; t++)
        sums[t][0] = sums[t][1] = (vec){0};
    for (size_t i = 0; i < count; i++) {
        vec left = load(panel + i * stride), right = load(panel + i * stride + LANES);
        if (next)
            for (size_t line = 0; line < PANEL; line += 16)
                __builtin_prefetch(next + i * PANEL + line, 0, 2);
#pragma GCC unroll 16
        for (size_t t = 0; t < tokens; t++) {
            vec number = all(x[t * in + i]);
            sums[t][0] = fused(number, left, sums[t][0]);
            sums[t][1] = fused(number, right, sums[t][1]);
        }
    }
    size_t counts[] = {smaller(columns, LANES), columns > LANES ? columns - LANES : 0};
#pragma GCC unroll 16
    for (size_t t = 0; t < tokens; t++)
#pragma GCC unroll 2
        for (size_t half = 0; half < 2; half++) {
            float *to = y + t * out + half * LANES;
            store_part(to, first ? sums[t][half] : sums[t][half] + load_part(to, counts[half]), counts[half]);
        }
}

static void tile_of(size_t tokens, const float *panel, size_t stride, const float *x, size_t in, size_t count, float *y,
                    size_t out, size_t columns, int first, const float *next) {
#define CASE(number)                                                                                                         \
    case number:                                                                                                             \
        tile(panel, stride, x, in, count, y, out, columns, first, next, number);                                             \
        break;
    switch (tokens) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
#if LANES == 16
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
#endif
        CASE(TOKENS)
    }
#undef CASE
}

static void tile_of_rows_of(size_t tokens, const float *w, const float *x, size_t in, size_t count, float *y, size_t out,
                            int first, const float *next) {
#define CASE(number)                                                                                                         \
    case number:                                                                                                             \
        tile_of_rows(w, x, in, count, y, out, first, next, number);                                                          \
        break;
    switch (tokens) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
    }
#undef CASE
}

/* Tokens of each tile, so that all are about the same size: a small one takes as long as a larger one. */
static size_t tile_size(size_t tokens) {
    size_t tiles = (tokens + TOKENS - 1) / TOKENS;
    return tiles ? (tokens + tiles - 1) / tiles : 1;
}

static void multiply(const float *w, const float *x, float *y, size_t tokens, size_t in, size_t out, size_t begin,
                     size_t end) {
    float packed[STRETCH * PANEL] __attribute__((aligned(64)));
    size_t each = tile_size(tokens);
    for (size_t first = begin; first < end; first += PANEL) {
        size_t columns = smaller(PANEL, end - first);
        for (size_t start = 0; start < in; start += STRETCH) {
            size_t count = smaller(STRETCH, in - start);
            const float *next = first + 2 * PANEL <= out ? w + (first + PANEL) * in + start * PANEL : NULL;
            if (tokens <= 4 && columns == PANEL && count % LINE == 0) {
                tile_of_rows_of(tokens, w + first * in + start, x + start, in, count, y + first, out, start == 0, next);
                continue;
            }
            const float *rows[PANEL];
            for (size_t i = 0; i < PANEL; i++) /* the last row stands in for those that do not exist */
                rows[i] = w + (first + smaller(i, columns - 1)) * in + start;
            pack_panel(rows, count, packed);
            for (size_t t = 0; t < tokens; t += each)
                tile_of(smaller(each, tokens - t), packed, PANEL, x + t * in + start, in, count, y + t * out + first, out,
                        columns, start == 0, t ? NULL : next);
        }
    }
}

static void linear(const Linear *layer, Activation activation, const float *x, float *y, size_t tokens, size_t first,
                   size_t last) {
    size_t in = layer->in, out = layer->out;
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

static size_t padded(size_t length) { return (length + PANEL - 1) / PANEL * PANEL; }

/* Room for the keys, the scores of some queries, and a part of the values. */
static size_t attend_scratch(size_t length, size_t size) { return padded(length) * (size + TOKENS + PANEL); }

/* Scores times factor, and with a bias, become e^(score - largest); returns the inverse of their sum. Behind the text, they
 * become 0. */
static float soften(float *scores, size_t length, float factor, const float *bias) {
    vec most = all(-INFINITY), sum[PARTS] = {{0}};
    for (size_t i = 0; i < length; i += LANES) {
        size_t count = smaller(LANES, length - i);
        vec v = load(scores + i) * factor;
        if (bias)
            v += load_part(bias + i, count);
        store(scores + i, v);
        most = larger(choose(first_lanes(count), v, most), most); /* behind the text, there are keys that stand in */
    }
    float largest = largest_lane(most);
    for (size_t start = 0; start < length; start += SUMS)
        for (size_t part = 0, i = start; part < PARTS && i < length; part++, i += LANES) {
            vec v = exponential(load(scores + i) - largest);
            v = choose(first_lanes(smaller(LANES, length - i)), v, all(0.0f));
            store(scores + i, v);
            sum[part] += v;
        }
    return 1.0f / add_up_all(sum);
}

static void attend(const float *query, const float *key, const float *value, float *context, size_t length, size_t size,
                   size_t width, const float *bias, float *scratch) {
    size_t stride = padded(length), whole = size / PANEL * PANEL;
    float *keys = scratch, *scores = keys + stride * size, *rest = scores + stride * TOKENS;
    float factor = 1.0f / sqrtf((float)size);
    for (size_t first = 0; first < length; first += PANEL) {
        const float *rows[PANEL];
        for (size_t i = 0; i < PANEL; i++) /* the last row stands in for those that do not exist */
            rows[i] = key + smaller(first + i, length - 1) * width;
        pack_panel(rows, size, keys + first * size);
    }
    for (size_t j = 0; whole < size && j < length; j++)
        for (size_t i = 0; i < PANEL; i++)
            rest[j * PANEL + i] = whole + i < size ? value[j * width + whole + i] : 0.0f;
    size_t each = tile_size(length);
    for (size_t first = 0; first < length; first += each) {
        size_t queries = smaller(each, length - first);
        float inverse[TOKENS], *to = context + first * width;
        for (size_t j = 0; j < stride; j += PANEL)
            tile_of(queries, keys + j * size, PANEL, query + first * width, width, size, scores + j, stride, PANEL, 1,
                    NULL);
        for (size_t q = 0; q < queries; q++)
            inverse[q] = soften(scores + q * stride, length, factor, bias ? bias - (ptrdiff_t)(first + q) : NULL);
        for (size_t i = 0; i < whole; i += PANEL)
            tile_of(queries, value + i, width, scores, stride, length, to + i, width, PANEL, 1, NULL);
        if (whole < size)
            tile_of(queries, rest, PANEL, scores, stride, length, to + whole, width, size - whole, 1, NULL);
        for (size_t q = 0; q < queries; q++)
            for (size_t i = 0; i < size; i++)
                to[q * width + i] *= inverse[q];
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
