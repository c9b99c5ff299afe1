/* Products in 8 bits: a part of lanes.c, compiled for each instruction set.
 *
 * The weights are integers already. What they are multiplied by becomes integers too, token by token: the numbers of a
 * row, from the smallest to the largest and 0 included, are spread over 0 to 254, and shift and scale take them back:
 *
 *     x[i] is about (q[i] + shift) * scale,  so  sum x[i] w[i] is about (sum q[i] w[i] + shift * sum w[i]) * scale.
 *
 * (Dynamic, asymmetric quantisation per token, as in Yao et al. 2022, "ZeroQuant", https://arxiv.org/abs/2206.01861,
 * section 4.1.) Sums of integers are exact, so instruction sets, orders and batches cannot differ in them. Between two
 * products there is float32, where one bit may decide which of two integers a number becomes, and that is felt in the
 * whole vector. So there, lanes.c computes the same bits with every instruction set as well.
 *
 * Processors multiply four bytes by four bytes and add up the products in one step, so the weights (in, out) are first
 * packed: for 16 columns at a time, four numbers of a column lie side by side.
 */

/* Columns that are packed together: a cache line of each row of the weights, so that none is fetched twice. */
enum { COLUMNS = 64 };
/* Columns of a tile, its vectors, and its tokens: as many sums as fit into the registers. */
enum { STRIPE = 16, VECTORS = STRIPE / LANES, TOKENS8 = LANES == 16 ? 8 : LANES == 8 ? 4 : 2 };

typedef uint8_t sixteen __attribute__((vector_size(16)));

#if defined(__ARM_NEON)
enum { OFFSET = 128 }; /* multiplies only signed bytes: those of x are stored less 128 */
#else
enum { OFFSET = 0 };
#endif

/* Adds to each lane the products of the four bytes of a lane of w and those of x. */
static inline ivec dot4(ivec sums, ivec w, ivec x) {
#if defined(FOR_VNNI)
    return (ivec)_mm512_dpbusd_epi32((__m512i)sums, (__m512i)x, (__m512i)w);
#elif defined(FOR_AVX512)
    /* Two neighbours in 16 bits, which would saturate, but no two neighbouring weights are large enough: see
     * loader/artifacts/quantize.py. */
    __m512i pairs = _mm512_maddubs_epi16((__m512i)x, (__m512i)w);
    return sums + (ivec)_mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
#elif defined(FOR_AVX2)
    __m256i pairs = _mm256_maddubs_epi16((__m256i)x, (__m256i)w);
    return sums + (ivec)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__SSE2__)
    /* The first and the third byte, then the second and the fourth, as 16 bits. */
    __m128i even = _mm_madd_epi16((__m128i)((ivec)_mm_srai_epi16(_mm_slli_epi16((__m128i)w, 8), 8)),
                                  _mm_and_si128((__m128i)x, _mm_set1_epi16(255)));
    __m128i odd = _mm_madd_epi16(_mm_srai_epi16((__m128i)w, 8), _mm_srli_epi16((__m128i)x, 8));
    return sums + (ivec)even + (ivec)odd;
#elif defined(__ARM_FEATURE_DOTPROD)
    return (ivec)vdotq_s32((int32x4_t)sums, (int8x16_t)w, (int8x16_t)x);
#elif defined(__ARM_NEON)
    int16x8_t low = vmull_s8(vget_low_s8((int8x16_t)w), vget_low_s8((int8x16_t)x));
    int16x8_t high = vmull_high_s8((int8x16_t)w, (int8x16_t)x);
    return sums + (ivec)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high));
#else
    for (int byte = 0; byte < 4; byte++)
        sums += ((ivec)((uvec)w << (24 - 8 * byte)) >> 24) * (ivec)((uvec)x >> (8 * byte) & 255);
    return sums;
#endif
}

/* The low bytes of the first count lanes. */
static inline void store_bytes(uint8_t *to, ivec v, size_t count) {
#if defined(FOR_AVX512)
    sixteen bytes = (sixteen)_mm512_cvtepi32_epi8((__m512i)v);
#elif defined(FOR_AVX2)
    __m128i halves = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
    sixteen bytes = (sixteen)_mm_packus_epi16(halves, halves);
#elif defined(__SSE2__)
    __m128i halves = _mm_packs_epi32((__m128i)v, (__m128i)v);
    sixteen bytes = (sixteen)_mm_packus_epi16(halves, halves);
#else
    uint8_t bytes[LANES];
    for (int lane = 0; lane < LANES; lane++)
        bytes[lane] = (uint8_t)v[lane];
#endif
    memcpy(to, &bytes, count);
}

static size_t groups_of(size_t in) { return (in + 3) / 4; }

static void quantise(const float *x, size_t tokens, size_t in, const Bytes *to) {
    const vec magic = all(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer, which is then in the low bits */
    size_t stride = 4 * groups_of(in);
    for (size_t t = 0; t < tokens; t++, x += in) {
        uint8_t *bytes = to->values + t * stride;
        vec least = {0}, most = {0}, nothing = {0};
        for (size_t i = 0; i < in; i += LANES) {
            vec v = load_part(x + i, smaller(LANES, in - i));
            most = larger(v, most);
            least = -larger(-v, -least);
            nothing += v * 0.0f; /* not a number if v is not finite */
        }
        float low = 0.0f, high = 0.0f;
        for (int lane = 0; lane < LANES; lane++) {
            high = most[lane] > high ? most[lane] : high;
            low = least[lane] < low ? least[lane] : low;
        }
        float range = high - low + add_up(nothing);
        to->scales[t] = range / 254.0f; /* of a row that is not finite, no number: whoever asked for its vector is told */
        to->shifts[t] = 0;
        memset(bytes, OFFSET, stride);
        if (!(range >= 1e-30f && range < INFINITY))
            continue;
        vec inverse = all(254.0f / range);
        ivec shift = (ivec)(all(low) * inverse + magic) - (ivec)magic;
        to->shifts[t] = shift[0];
        for (size_t i = 0; i < in; i += LANES) {
            size_t count = smaller(LANES, in - i);
            ivec v = (ivec)(load_part(x + i, count) * inverse + magic) - (ivec)magic - shift;
            store_bytes(bytes + i, v ^ OFFSET, count);
        }
    }
}

/* Four rows of 16 bytes become 16 columns of four. */
static inline void interleave(const int8_t *const *rows, size_t at, int8_t *to) {
    sixteen r[4], low[2], high[2], packed[4];
    for (size_t i = 0; i < 4; i++)
        memcpy(&r[i], rows[i] + at, sizeof r[i]);
    for (size_t i = 0; i < 2; i++) {
        low[i] = MIX(r[2 * i], r[2 * i + 1], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        high[i] = MIX(r[2 * i], r[2 * i + 1], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    }
    packed[0] = MIX(low[0], low[1], 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    packed[1] = MIX(low[0], low[1], 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
    packed[2] = MIX(high[0], high[1], 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
    packed[3] = MIX(high[0], high[1], 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31);
    memcpy(to, packed, sizeof packed);
}

/* Packs the columns of W (in, out) from `column` on: stripe by stripe, group by group. Numbers that do not exist are 0. */
static void pack(const int8_t *w, size_t in, size_t out, size_t column, size_t count, int8_t *packed) {
    static const int8_t nothing[COLUMNS] = {0};
    int8_t copies[4][COLUMNS] = {{0}};
    size_t groups = groups_of(in);
    for (size_t group = 0; group < groups; group++, packed += 4 * STRIPE) {
        const int8_t *rows[4];
        for (size_t i = 0; i < 4; i++) {
            int exists = 4 * group + i < in;
            rows[i] = exists ? w + (4 * group + i) * out + column : nothing;
            __builtin_prefetch(rows[i] + COLUMNS, 0, 2);
            if (exists && count < COLUMNS)
                rows[i] = memcpy(copies[i], rows[i], count);
        }
        for (size_t stripe = 0; stripe < COLUMNS / STRIPE; stripe++)
            interleave(rows, stripe * STRIPE, packed + stripe * groups * 4 * STRIPE);
    }
}

/* The products of a stripe and some tokens. Inlined for each number of tokens, so that the sums are in registers. */
static inline __attribute__((always_inline)) void tile8(const int8_t *packed, const uint8_t *x, size_t groups,
                                                        ivec (*products)[VECTORS], const size_t tokens) {
    ivec sums[TOKENS8][VECTORS] = {{{0}}};
    for (size_t group = 0; group < groups; group++) {
        ivec w[VECTORS];
        for (size_t i = 0; i < VECTORS; i++)
            memcpy(&w[i], packed + (group * VECTORS + i) * sizeof(ivec), sizeof(ivec)); /* one by one, into registers */
        for (size_t t = 0; t < tokens; t++) {
            int32_t four;
            memcpy(&four, x + 4 * (t * groups + group), sizeof four);
            ivec everywhere = (ivec){0} + four;
            for (size_t i = 0; i < VECTORS; i++)
                sums[t][i] = dot4(sums[t][i], w[i], everywhere);
        }
    }
    for (size_t t = 0; t < tokens; t++)
        for (size_t i = 0; i < VECTORS; i++)
            products[t][i] = sums[t][i];
}

static void tile8_of(size_t tokens, const int8_t *packed, const uint8_t *x, size_t groups, ivec (*products)[VECTORS]) {
#define CASE(number)                                                                                                         \
    case number:                                                                                                             \
        tile8(packed, x, groups, products, number);                                                                          \
        break;
    switch (tokens) {
        CASE(1)
#if LANES > 4
        CASE(2)
        CASE(3)
#endif
#if LANES > 8
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
#endif
        CASE(TOKENS8)
    }
#undef CASE
}

/* Each column's sum of weights: its products with ones. */
static void add_columns(const int8_t *packed, size_t groups, ivec *sums) {
    const ivec ones = (ivec){0} + 0x01010101;
    for (size_t i = 0; i < VECTORS; i++)
        sums[i] = (ivec){0};
    for (size_t group = 0; group < groups; group++)
        for (size_t i = 0; i < VECTORS; i++) {
            ivec w;
            memcpy(&w, packed + (group * VECTORS + i) * sizeof w, sizeof w);
            sums[i] = dot4(sums[i], w, ones);
        }
}

static void linear8(const Linear *layer, Activation activation, const Bytes *x, float *y, size_t tokens, size_t first,
                    size_t last, int8_t *packed) {
    size_t in = layer->in, out = layer->out, groups = groups_of(in);
    for (size_t column = first; column < last; column += COLUMNS) {
        size_t columns = smaller(COLUMNS, last - column);
        pack(layer->weight.values, in, out, column, columns, packed);
        for (size_t begin = 0; begin < columns; begin += STRIPE) {
            const int8_t *stripe = packed + begin * 4 * groups;
            size_t place = column + begin, width = smaller(STRIPE, columns - begin);
            ivec weights[VECTORS], products[TOKENS8][VECTORS];
            add_columns(stripe, groups, weights);
            for (size_t start = 0; start < tokens; start += TOKENS8) {
                size_t some = smaller(TOKENS8, tokens - start);
                tile8_of(some, stripe, x->values + start * 4 * groups, groups, products);
                for (size_t t = 0; t < some; t++)
                    for (size_t i = 0; i * LANES < width; i++) {
                        size_t at = place + i * LANES, count = smaller(LANES, width - i * LANES);
                        ivec sums = products[t][i] + weights[i] * (x->shifts[start + t] + OFFSET);
                        vec v = __builtin_convertvector(sums, vec);
                        v *= load_part(layer->weight.scale + at, count) * x->scales[start + t];
                        if (layer->bias)
                            v += load_part(layer->bias + at, count);
                        store_part(y + (start + t) * out + at, activated(activation, v), count);
                    }
            }
        }
    }
}

static size_t packed_size(size_t in) { return groups_of(in) * 4 * COLUMNS; }
