/* Products of dense matrices: two neighbouring columns at a time in a block of up to eight tiles, 64 rows. Of each frame all
 * pairs of columns, or those alone that moved, whose changes are added to the sums of the frame before. */
#include <string.h>

#include "kernels.h"

/* Sums wrap around on their way: a change can be twice as large as an input, what the sums come to in the end fits. */
static inline void add_pair(uint32_t *sums, const int8_t *weights, int32_t first, int32_t second) {
    for (int r = 0; r < ROWS; r++) sums[r] += (uint32_t)(weights[2 * r] * first + weights[2 * r + 1] * second);
}

static void pairs_portable(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,
                           uint8_t *scratch) {
    (void)scratch;
    for (int p = 0; p < w->tiles; p++)
        for (int n = 0; n < frames; n++) {
            uint32_t sums[ROWS] = {0};
            const int16_t *v = x + n * stride;
            for (int pair = 0; pair < fp_pairs(w); pair++, v += 2)
                add_pair(sums, w->weights + 2 * ROWS * fp_step_of(w, p, pair), v[0], v[1]);
            memcpy(out + n * out_stride + (size_t)p * ROWS, sums, sizeof sums);
        }
}

static void moved_portable(const matrix *w, const moves *moved, int frames, int32_t *sums, int32_t *out, size_t out_stride) {
    for (int p = 0; p < w->tiles; p++) {
        uint32_t here[ROWS];
        memcpy(here, sums + (size_t)p * ROWS, sizeof here);
        for (int n = 0; n < frames; n++) {
            for (int i = 0; i < moved[n].count; i++) {
                const int32_t change = moved[n].change[i];
                add_pair(here, w->weights + 2 * ROWS * fp_step_of(w, p, moved[n].place[i]), (int16_t)change, change >> 16);
            }
            memcpy(out + n * out_stride + (size_t)p * ROWS, here, sizeof here);
        }
        memcpy(sums + (size_t)p * ROWS, here, sizeof here);
    }
}

#ifdef X86
/* Both vector sets. A register has the sums of LANES rows, NUMBER registers those of a block, FEW of them are taken at a time
 * for four frames, which share each load of weights. Where a block has fewer tiles, what follows its weights is added to sums
 * that are not stored. */
#define PAIRS(NAME, TARGET, V, LANES, NUMBER, FEW)                                                                     \
    TARGET INLINE void NAME##_of(const int8_t *w, size_t step, const int16_t *x, size_t stride, int pairs, int number, \
                                 int frames, int rows, int32_t *out, size_t out_stride) {                              \
        V sums[4][NUMBER], weights[NUMBER];                                                                            \
        for (int n = 0; n < frames; n++)                                                                               \
            for (int k = 0; k < number; k++) sums[n][k] = NAME##_zero();                                               \
        for (const int16_t *end = x + 2 * (size_t)pairs; x < end; x += 2, w += step) {                                 \
            for (int k = 0; k < number; k++) weights[k] = NAME##_weights(w + 2 * LANES * k);                           \
            for (int n = 0; n < frames; n++) {                                                                         \
                const V two = NAME##_set(two_of(x + n * stride));                                                      \
                for (int k = 0; k < number; k++) sums[n][k] = NAME##_dot(sums[n][k], weights[k], two);                 \
            }                                                                                                          \
        }                                                                                                              \
        for (int n = 0; n < frames; n++)                                                                               \
            for (int k = 0; k < number; k++)                                                                           \
                if (LANES * k < rows) NAME##_store(out + n * out_stride + LANES * k, sums[n][k]);                      \
    }                                                                                                                  \
    TARGET static void NAME(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,                \
                            size_t out_stride, uint8_t *scratch) {                                                     \
        (void)scratch;                                                                                                 \
        const int pairs = fp_pairs(w);                                                                                 \
        for (int p = 0; p < w->tiles; p += BLOCK, out += BLOCK * ROWS) {                                               \
            const int rows = ROWS * fp_block_of(w, p);                                                                 \
            const size_t step = 2 * (size_t)rows;                                                                      \
            const int8_t *weights = w->weights + 2 * ROWS * fp_step_of(w, p, 0);                                       \
            int n = 0;                                                                                                 \
            for (; n + 4 <= frames; n += 4)                                                                            \
                for (int r = 0; r < rows; r += FEW * LANES)                                                            \
                    NAME##_of(weights + 2 * r, step, x + n * stride, stride, pairs, FEW, 4, rows - r,                  \
                              out + n * out_stride + r, out_stride);                                                   \
            for (; n < frames; n++)                                                                                    \
                NAME##_of(weights, step, x + n * stride, 0, pairs, NUMBER, 1, rows, out + n * out_stride, 0);          \
        }                                                                                                              \
    }                                                                                                                  \
    TARGET static void NAME##_moved(const matrix *w, const moves *moved, int frames, int32_t *sums, int32_t *out,      \
                                    size_t out_stride) {                                                               \
        for (int p = 0; p < w->tiles; p += BLOCK, sums += BLOCK * ROWS, out += BLOCK * ROWS) {                         \
            const int rows = ROWS * fp_block_of(w, p);                                                                 \
            const size_t step = 2 * (size_t)rows;                                                                      \
            const int8_t *first = w->weights + 2 * ROWS * fp_step_of(w, p, 0);                                         \
            V here[NUMBER];                                                                                            \
            for (int k = 0; k < NUMBER; k++) here[k] = LANES * k < rows ? NAME##_load(sums + LANES * k) : NAME##_zero(); \
            for (const moves *m = moved; m < moved + frames; m++) {                                                    \
                for (int i = 0; i < m->count; i++) {                                                                   \
                    const int8_t *weights = first + step * m->place[i];                                                \
                    const V two = NAME##_set(m->change[i]);                                                            \
                    for (int k = 0; k < NUMBER; k++)                                                                   \
                        here[k] = NAME##_dot(here[k], NAME##_weights(weights + 2 * LANES * k), two);                   \
                }                                                                                                      \
                for (int k = 0; k < NUMBER; k++)                                                                       \
                    if (LANES * k < rows) NAME##_store(out + (m - moved) * out_stride + LANES * k, here[k]);           \
            }                                                                                                          \
            for (int k = 0; k < NUMBER; k++)                                                                           \
                if (LANES * k < rows) NAME##_store(sums + LANES * k, here[k]);                                         \
        }                                                                                                              \
    }

INLINE int32_t two_of(const int16_t *x) {
    int32_t two;
    memcpy(&two, x, sizeof two);
    return two;
}

AVX2 INLINE __m256i avx2_zero(void) { return _mm256_setzero_si256(); }
AVX2 INLINE __m256i avx2_set(int32_t two) { return _mm256_set1_epi32(two); }
AVX2 INLINE __m256i avx2_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
AVX2 INLINE void avx2_store(int32_t *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }
AVX2 INLINE __m256i avx2_weights(const int8_t *p) { return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p)); }
AVX2 INLINE __m256i avx2_dot(__m256i sum, __m256i a, __m256i b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }

VNNI INLINE __m512i vnni_zero(void) { return _mm512_setzero_si512(); }
VNNI INLINE __m512i vnni_set(int32_t two) { return _mm512_set1_epi32(two); }
VNNI INLINE __m512i vnni_load(const int32_t *p) { return _mm512_loadu_si512(p); }
VNNI INLINE void vnni_store(int32_t *p, __m512i v) { _mm512_storeu_si512(p, v); }
VNNI INLINE __m512i vnni_weights(const int8_t *p) { return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p)); }
VNNI INLINE __m512i vnni_dot(__m512i sum, __m512i a, __m512i b) { return _mm512_dpwssd_epi32(sum, a, b); }

PAIRS(avx2, AVX2, __m256i, 8, 8, 2)
PAIRS(vnni, VNNI, __m512i, 16, 4, 4)
#endif

product fp_pairs_product(int32_t level) {
#ifdef X86
    if (level == FP_AVX512_VNNI) return vnni;
    if (level == FP_AVX2) return avx2;
#endif
    (void)level;
    return pairs_portable;
}

add_moves *fp_pairs_moved(int32_t level) {
#ifdef X86
    if (level == FP_AVX512_VNNI) return vnni_moved;
    if (level == FP_AVX2) return avx2_moved;
#endif
    (void)level;
    return moved_portable;
}
