/* Products with tiles: eight rows and two neighbouring columns at a time; and with single weights, where there are no
 * vectors. */
#include <string.h>

#include "kernels.h"

/* Single weights; four sums, since adding takes longer than multiplying. */
void fp_single_product(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,
                       uint8_t *scratch) {
    (void)scratch;
    const uint16_t *restrict column = w->column;
    const int8_t *restrict weights = w->weights;
    for (int n = 0; n < frames; n++) {
        const int16_t *restrict v = x + n * stride;
        for (int r = 0; r < ROWS * w->tiles; r++) {
            const uint32_t end = w->start[r + 1];
            int32_t a = 0, b = 0, c = 0, d = 0;
            uint32_t k = w->start[r];
            for (; k + 4 <= end; k += 4) {
                a += weights[k] * v[column[k]];
                b += weights[k + 1] * v[column[k + 1]];
                c += weights[k + 2] * v[column[k + 2]];
                d += weights[k + 3] * v[column[k + 3]];
            }
            for (; k < end; k++) a += weights[k] * v[column[k]];
            out[n * out_stride + r] = a + b + c + d;
        }
    }
}

static void product_portable(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,
                             size_t out_stride, uint8_t *scratch) {
    (void)scratch;
    for (int p = 0; p < w->tiles; p++)
        for (int n = 0; n < frames; n++) {
            int32_t sums[ROWS] = {0};
            for (uint32_t s = w->start[p]; s < w->start[p + 1]; s++) {
                const int16_t *v = x + n * stride + 2 * (size_t)w->column[s];
                const int8_t *k = w->weights + 2 * ROWS * (size_t)s;
                for (int r = 0; r < ROWS; r++) sums[r] += k[2 * r] * v[0] + k[2 * r + 1] * v[1];
            }
            memcpy(out + n * out_stride + (size_t)p * ROWS, sums, sizeof sums);
        }
}

#ifdef X86
/* Both vector sets; DOT(sum, a, b) adds to each of eight sums the products of a pair of 16-bit numbers in a with the
 * pair that b points at. A step takes eight rows' weights for a pair of columns, widened. Steps come in fours. */
#define WIDENED(S) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weights + 2 * ROWS * (S))))
#define PAIR(X, K) ((const unaligned *)((X) + 2 * (size_t)(pairs >> 16 * (K) & 0xFFFF)))
#define PUT(SUM, OUT) _mm256_storeu_si256((__m256i *)(OUT), SUM)

typedef int32_t unaligned __attribute__((aligned(2), may_alias));

/* One frame. */
#define PRODUCT_1(NAME, TARGET, DOT)                                                                                   \
    TARGET static void NAME##_1(const matrix *w, const int16_t *restrict x, int32_t *restrict out) {                   \
        const int8_t *restrict weights = w->weights;                                                                   \
        const uint16_t *restrict pair = w->column;                                                                     \
        for (const uint32_t *end = w->start + 1, *last = w->start + w->tiles; end <= last; end++, out += ROWS) {       \
            const int8_t *stop = w->weights + 2 * ROWS * (size_t)*end;                                                 \
            __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;                                                   \
            for (; weights < stop; weights += 2 * ROWS * STEPS, pair += STEPS) {                                       \
                uint64_t pairs;                                                                                        \
                memcpy(&pairs, pair, sizeof pairs);                                                                    \
                a = DOT(a, WIDENED(0), PAIR(x, 0));                                                                    \
                b = DOT(b, WIDENED(1), PAIR(x, 1));                                                                    \
                c = DOT(c, WIDENED(2), PAIR(x, 2));                                                                    \
                d = DOT(d, WIDENED(3), PAIR(x, 3));                                                                    \
            }                                                                                                          \
            PUT(_mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d)), out);                                \
        }                                                                                                              \
    }

/* Four frames, which share each load of weights; two sums for each, since adding takes longer than multiplying. */
#define DOT_4(DOT, S, A, B, C, D)                                                                                      \
    do {                                                                                                               \
        const __m256i k = WIDENED(S);                                                                                  \
        A = DOT(A, k, PAIR(v0, S));                                                                                    \
        B = DOT(B, k, PAIR(v1, S));                                                                                    \
        C = DOT(C, k, PAIR(v2, S));                                                                                    \
        D = DOT(D, k, PAIR(v3, S));                                                                                    \
    } while (0)

#define PRODUCT_4(NAME, TARGET, DOT)                                                                                   \
    TARGET static void NAME##_4(const matrix *w, const int16_t *restrict x, size_t stride, int32_t *restrict out,      \
                                size_t out_stride) {                                                                   \
        const int16_t *restrict v0 = x, *restrict v1 = x + stride, *restrict v2 = v1 + stride, *restrict v3 = v2 + stride; \
        const int8_t *restrict weights = w->weights;                                                                   \
        const uint16_t *restrict pair = w->column;                                                                     \
        for (const uint32_t *end = w->start + 1, *last = w->start + w->tiles; end <= last; end++, out += ROWS) {       \
            const int8_t *stop = w->weights + 2 * ROWS * (size_t)*end;                                                 \
            __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a, e = a, f = a, g = a, h = a;                       \
            for (; weights < stop; weights += 2 * ROWS * STEPS, pair += STEPS) {                                       \
                uint64_t pairs;                                                                                        \
                memcpy(&pairs, pair, sizeof pairs);                                                                    \
                DOT_4(DOT, 0, a, b, c, d);                                                                             \
                DOT_4(DOT, 1, e, f, g, h);                                                                             \
                DOT_4(DOT, 2, a, b, c, d);                                                                             \
                DOT_4(DOT, 3, e, f, g, h);                                                                             \
            }                                                                                                          \
            PUT(_mm256_add_epi32(a, e), out);                                                                          \
            PUT(_mm256_add_epi32(b, f), out + out_stride);                                                             \
            PUT(_mm256_add_epi32(c, g), out + 2 * out_stride);                                                         \
            PUT(_mm256_add_epi32(d, h), out + 3 * out_stride);                                                         \
        }                                                                                                              \
    }

#define PRODUCT(NAME, TARGET, DOT)                                                                                     \
    PRODUCT_1(NAME, TARGET, DOT)                                                                                       \
    PRODUCT_4(NAME, TARGET, DOT)                                                                                       \
    static void NAME(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,    \
                     uint8_t *scratch) {                                                                               \
        int n = 0;                                                                                                     \
        (void)scratch;                                                                                                 \
        for (; n + 4 <= frames; n += 4) NAME##_4(w, x + n * stride, stride, out + n * out_stride, out_stride);         \
        for (; n < frames; n++) NAME##_1(w, x + n * stride, out + n * out_stride);                                     \
    }

AVX2 INLINE __m256i dot_avx2(__m256i sum, __m256i a, const unaligned *b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, _mm256_set1_epi32(*b)));
}

/* By hand, since the compiler neither folds the broadcast into the instruction nor keeps the sum in place. */
VNNI INLINE __m256i dot_vnni(__m256i sum, __m256i a, const unaligned *b) {
    __asm__("vpdpwssd %2%{1to8%}, %1, %0" : "+v"(sum) : "v"(a), "m"(*b));
    return sum;
}

PRODUCT(product_avx2, AVX2, dot_avx2)
PRODUCT(product_vnni, VNNI, dot_vnni)
#endif

product fp_tiles_product(int32_t level) {
#ifdef X86
    if (level == FP_AVX512_VNNI) return product_vnni;
    if (level == FP_AVX2) return product_avx2;
#endif
#ifdef ARM
    if (level >= FP_NEON) return fp_neon_tiles;
#endif
    (void)level;
    return product_portable;
}
