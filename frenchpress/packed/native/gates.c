/* Gates by table, the cell state in fixed point: what comes after the products of a layer. */
#include "gates.h"

/* Arguments with 16 fraction bits -> values with 20. */
INLINE int32_t sigmoid(const uint32_t *table, int32_t x) {
    const int32_t limit = (ENTRIES << STEP_BITS) - 1;
    int32_t size = x < 0 ? -x : x;
    size = size < limit ? size : limit;
    const uint32_t entry = table[size >> STEP_BITS];
    const int32_t more = entry & 4095, rest = size & ((1 << STEP_BITS) - 1);
    const int32_t above = (int32_t)(entry >> 12) + ((more * rest + (1 << (STEP_BITS - 1))) >> STEP_BITS);
    return (1 << (VALUE_BITS - 1)) + (x < 0 ? -above : above);
}

/* Arguments of `count` gates: (ax * along + ah * back) / 2^shift + bias. */
INLINE void arguments_portable(const lstm_layer *l, const int32_t *ax, const int32_t *ah, int32_t *z, int count) {
    for (int k = 0; k < count; k++) {
        const int64_t sum = (int64_t)ax[k] * l->along[k] + (int64_t)ah[k] * l->back[k];
        z[k] = (int32_t)shifted(sum, l->shift) + l->bias[k];
    }
}

#ifdef X86
/* The same on vectors of P. Products of even and of odd lanes are 64 bits wide. Since the sum lies within +-2^62, 2^62
 * more makes it positive: a logical shift then gives the low 32 bits that an arithmetic one would, but for the 2^62. */
#define ARGUMENTS(NAME, TARGET, P, V, LANES, JOIN)                                                                     \
    TARGET INLINE V NAME##_load(const int32_t *p) { return P##_loadu_si##JOIN((const void *)p); }                      \
    TARGET INLINE V NAME##_wide(V a, V b, V c, V d, V start, __m128i shift) {                                          \
        return P##_srl_epi64(P##_add_epi64(P##_add_epi64(P##_mul_epi32(a, b), P##_mul_epi32(c, d)), start), shift);    \
    }                                                                                                                  \
    TARGET INLINE void NAME(const lstm_layer *l, const int32_t *ax, const int32_t *ah, int32_t *z, int count) {        \
        const V start = P##_set1_epi64##JOIN##x((INT64_C(1) << 62) + (INT64_C(1) << l->shift >> 1));                   \
        const V low = P##_set1_epi64##JOIN##x(0xFFFFFFFF);                                                             \
        const V offset = P##_set1_epi32((int32_t)(UINT64_C(1) << (62 - l->shift)));                                    \
        const __m128i shift = _mm_cvtsi32_si128(l->shift);                                                             \
        for (int k = 0; k < count; k += LANES) {                                                                       \
            const V a = NAME##_load(ax + k), b = NAME##_load(l->along + k);                                            \
            const V c = NAME##_load(ah + k), d = NAME##_load(l->back + k);                                             \
            const V even = NAME##_wide(a, b, c, d, start, shift);                                                      \
            const V odd = NAME##_wide(P##_srli_epi64(a, 32), P##_srli_epi64(b, 32), P##_srli_epi64(c, 32),             \
                                      P##_srli_epi64(d, 32), start, shift);                                            \
            const V both = P##_or_si##JOIN(P##_and_si##JOIN(even, low), P##_slli_epi64(odd, 32));                      \
            const V bias = P##_sub_epi32(NAME##_load(l->bias + k), offset);                                            \
            P##_storeu_si##JOIN((void *)(z + k), P##_add_epi32(both, bias));                                           \
        }                                                                                                              \
    }
#define _mm256_set1_epi64256x _mm256_set1_epi64x
#define _mm512_set1_epi64512x _mm512_set1_epi64
ARGUMENTS(arguments_avx2, AVX2, _mm256, __m256i, 8, 256)
ARGUMENTS(arguments_vnni, VNNI, _mm512, __m512i, 16, 512)
#endif

typedef uint64_t couple __attribute__((may_alias)); /* of cells, in one gate */

/* Gate values of all tiles, with those of a gate side by side after: [4][padded]. */
INLINE void gates_portable(const fp_model *m, const lstm_layer *l, int32_t *restrict z, int32_t *restrict value) {
    const int count = GATES * l->padded;
    const uint32_t *restrict table = m->sigmoid;
    for (int k = 0; k < count; k++) z[k] = sigmoid(table, z[k]);
    const couple *restrict both = (const void *)z;
    couple *restrict i = (void *)value, *restrict f = (void *)(value + l->padded);
    couple *restrict g = (void *)(value + 2 * l->padded), *restrict o = (void *)(value + 3 * l->padded);
    for (int p = 0; p < l->padded / 2; p++) {
        i[p] = both[4 * p];
        f[p] = both[4 * p + 1];
        g[p] = both[4 * p + 2];
        o[p] = both[4 * p + 3];
    }
}

/* Gate values and cell state c -> the new c and the outputs. */
INLINE void cells_portable(const fp_model *m, const lstm_layer *l, const int32_t *restrict value, int32_t *restrict c,
                  int16_t *restrict out) {
    const int n = l->padded;
    const uint32_t *restrict table = m->sigmoid;
    const int32_t *i = value, *f = value + n, *g = value + 2 * n, *o = value + 3 * n;
    const int64_t factor = l->out_multiplier;
    for (int k = 0; k < n; k++) {
        const int32_t tanh_g = 2 * g[k] - (1 << VALUE_BITS); /* its argument came doubled */
        const int64_t sum = (int64_t)f[k] * c[k] + (int64_t)i[k] * tanh_g * (1 << (CELL_BITS - VALUE_BITS));
        c[k] = (int32_t)limited(shifted(sum, VALUE_BITS), INT32_MAX);
    }
    for (int k = 0; k < n; k++) {
        const int32_t argument = (int32_t)shifted(c[k], CELL_BITS - 16);
        const int32_t tanh_c = 2 * sigmoid(table, 2 * argument) - (1 << VALUE_BITS);
        const int64_t h = shifted((int64_t)o[k] * tanh_c, OUT_SHIFT);
        out[k] = (int16_t)limited(shifted(h * factor, 2 * VALUE_BITS - OUT_SHIFT + 15), l->output_top);
    }
}

#ifdef X86
/* The same on AVX2, which neither shifts 64 bits arithmetically nor multiplies them: products of even and of odd lanes, made
 * positive by 2^62 more, as above. */
#define ODD(V) _mm256_srli_epi64(V, 32)
#define LOAD(P) _mm256_loadu_si256((const __m256i *)(P))

AVX2 INLINE __m256i low_halves(__m256i even, __m256i odd) {
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}

/* (f c + 16 i g + 2^19) >> 20 within 32 bits, of even lanes. */
AVX2 INLINE __m256i next_cells(__m256i f, __m256i c, __m256i i, __m256i g) {
    const __m256i start = _mm256_set1_epi64x((INT64_C(1) << 62) + (1 << (VALUE_BITS - 1)));
    const __m256i top = _mm256_set1_epi64x((INT64_C(1) << (62 - VALUE_BITS)) + INT32_MAX);
    const __m256i bottom = _mm256_set1_epi64x((INT64_C(1) << (62 - VALUE_BITS)) - INT32_MAX);
    const __m256i sum = _mm256_add_epi64(_mm256_mul_epi32(f, c), _mm256_mul_epi32(i, g));
    __m256i next = _mm256_srli_epi64(_mm256_add_epi64(sum, start), VALUE_BITS);
    next = _mm256_blendv_epi8(next, top, _mm256_cmpgt_epi64(next, top));
    return _mm256_blendv_epi8(next, bottom, _mm256_cmpgt_epi64(bottom, next));
}

/* The output before it is limited, of even lanes; 2^17 too large in the low half. */
AVX2 INLINE __m256i outputs_of(__m256i o, __m256i tanh_c, __m256i factor) {
    const int shift = 2 * VALUE_BITS - OUT_SHIFT + 15;
    const __m256i near = _mm256_set1_epi64x((INT64_C(1) << 62) + (1 << (OUT_SHIFT - 1)));
    const __m256i start = _mm256_set1_epi64x((INT64_C(1) << 62) + (INT64_C(1) << (shift - 1)));
    const __m256i h = _mm256_srli_epi64(_mm256_add_epi64(_mm256_mul_epi32(o, tanh_c), near), OUT_SHIFT);
    return _mm256_srli_epi64(_mm256_add_epi64(_mm256_mul_epi32(h, factor), start), shift);
}

/* Eight entries one by one: processors that have AVX2 and no more gather them more slowly than that. */
AVX2 INLINE __m256i look_up(const uint32_t *table, __m256i index) {
    int32_t i[8];
    _mm256_storeu_si256((__m256i *)i, index);
    return _mm256_setr_epi32((int)table[i[0]], (int)table[i[1]], (int)table[i[2]], (int)table[i[3]], (int)table[i[4]],
                             (int)table[i[5]], (int)table[i[6]], (int)table[i[7]]);
}

/* sigmoid(x) - 1/2 with 20 fraction bits. */
AVX2 INLINE __m256i above_half(const uint32_t *table, __m256i x) {
    const __m256i limit = _mm256_set1_epi32((ENTRIES << STEP_BITS) - 1), half = _mm256_set1_epi32(1 << (STEP_BITS - 1));
    const __m256i size = _mm256_min_epi32(_mm256_abs_epi32(x), limit);
    const __m256i entry = look_up(table, _mm256_srli_epi32(size, STEP_BITS));
    const __m256i more = _mm256_and_si256(entry, _mm256_set1_epi32(4095));
    const __m256i rest = _mm256_and_si256(size, _mm256_set1_epi32((1 << STEP_BITS) - 1));
    const __m256i between = _mm256_srli_epi32(_mm256_add_epi32(_mm256_madd_epi16(more, rest), half), STEP_BITS);
    return _mm256_sign_epi32(_mm256_add_epi32(_mm256_srli_epi32(entry, 12), between), x);
}

AVX2 INLINE void gates_avx2(const fp_model *m, const lstm_layer *l, const int32_t *z, int32_t *value) {
    const __m256i half = _mm256_set1_epi32(1 << (VALUE_BITS - 1));
    for (int cell = 0; cell < l->padded; cell += 2, z += ROWS) {
        const __m256i all = _mm256_add_epi32(above_half(m->sigmoid, LOAD(z)), half);
        const __m128i i_f = _mm256_castsi256_si128(all), g_o = _mm256_extracti128_si256(all, 1);
        _mm_storel_epi64((__m128i *)(value + cell), i_f);
        _mm_storel_epi64((__m128i *)(value + l->padded + cell), _mm_unpackhi_epi64(i_f, i_f));
        _mm_storel_epi64((__m128i *)(value + 2 * l->padded + cell), g_o);
        _mm_storel_epi64((__m128i *)(value + 3 * l->padded + cell), _mm_unpackhi_epi64(g_o, g_o));
    }
}

AVX2 INLINE __m256i tanh_of(const uint32_t *table, __m256i c) {
    /* Half up without a carry out of 32 bits; twice of it is the argument. */
    const __m256i rounded = _mm256_srai_epi32(_mm256_add_epi32(_mm256_srai_epi32(c, CELL_BITS - 17), _mm256_set1_epi32(1)), 1);
    const __m256i above = above_half(table, _mm256_add_epi32(rounded, rounded));
    return _mm256_add_epi32(above, above);
}

AVX2 INLINE void cells_avx2(const fp_model *m, const lstm_layer *l, const int32_t *value, int32_t *c, int16_t *out) {
    const int n = l->padded;
    const __m256i one = _mm256_set1_epi32(1 << VALUE_BITS), factor = _mm256_set1_epi32(l->out_multiplier);
    const __m256i top = _mm256_set1_epi32(l->output_top), bottom = _mm256_set1_epi32(-l->output_top);
    const __m256i surplus = _mm256_set1_epi32(1 << (62 - (2 * VALUE_BITS - OUT_SHIFT + 15)));
    for (int k = 0; k < n; k += 8) {
        const __m256i g = LOAD(value + 2 * n + k), tanh_g = _mm256_sub_epi32(_mm256_add_epi32(g, g), one);
        const __m256i i = _mm256_slli_epi32(LOAD(value + k), CELL_BITS - VALUE_BITS), f = LOAD(value + n + k);
        const __m256i before = LOAD(c + k), o = LOAD(value + 3 * n + k);
        const __m256i next = low_halves(next_cells(f, before, i, tanh_g), next_cells(ODD(f), ODD(before), ODD(i), ODD(tanh_g)));
        const __m256i tanh_c = tanh_of(m->sigmoid, next);
        const __m256i wide = low_halves(outputs_of(o, tanh_c, factor), outputs_of(ODD(o), ODD(tanh_c), factor));
        const __m256i h = _mm256_max_epi32(_mm256_min_epi32(_mm256_sub_epi32(wide, surplus), top), bottom);
        const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(h, h), 0xD8);
        _mm256_storeu_si256((__m256i *)(c + k), next);
        _mm_storeu_si128((__m128i *)(out + k), _mm256_castsi256_si128(both));
    }
}
#define gates_vnni gates_portable /* where compilers do as well */
#define cells_vnni cells_portable
#endif

#define STEP(NAME, TARGET)                                                                                             \
    TARGET void fp_step_##NAME(const fp_model *m, const lstm_layer *l, const int32_t *ax, const int32_t *ah, int32_t *z, \
                               int32_t *value, int32_t *c, int16_t *out) {                                             \
        arguments_##NAME(l, ax, ah, z, GATES *l->padded);                                                              \
        gates_##NAME(m, l, z, value);                                                                                  \
        cells_##NAME(m, l, value, c, out);                                                                             \
    }
STEP(portable, )
#ifdef X86
STEP(avx2, AVX2)
STEP(vnni, VNNI)
#endif
