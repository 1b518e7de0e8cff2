/* Products with windows: each row picks its inputs out of the 32 or 64 columns that lie in registers. For banks, and for
 * weights anywhere.
 *
 * A word has a weight in its high byte and in its low one which column of the window it takes. The 32 words of a step
 * are two for each of sixteen rows. On AVX-512 the words themselves are the control of a permutation (which looks at the
 * low five or six bits), and shifted they are the weights. AVX2 has a permutation of bytes within 16 of them: low and
 * high bytes of the inputs are looked up apart, in tables of 16 each.
 */
#include <string.h>

#include "kernels.h"

static void windows_portable(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,
                             size_t out_stride, uint8_t *scratch) {
    (void)scratch;
    for (int q = 0; q < w->tiles / 2; q++)
        for (int n = 0; n < frames; n++) {
            int32_t sums[WIDE] = {0};
            for (uint32_t s = w->start[q]; s < w->start[q + 1]; s++) {
                const int16_t *v = x + n * stride + (size_t)w->window * w->column[s], *word = w->words + 2 * WIDE * (size_t)s;
                for (int k = 0; k < 2 * WIDE; k++) sums[k / 2] += (word[k] >> 8) * v[word[k] & 63];
            }
            memcpy(out + n * out_stride + (size_t)q * WIDE, sums, sizeof sums);
        }
}

#ifdef X86
/* ---- AVX2 ---- */

#define BOTH(P) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(P)))
#define LOAD(P) _mm256_loadu_si256((const __m256i *)(P))

/* For each 32 inputs 32 low bytes and then 32 high ones. */
AVX2 static void split(const int16_t *x, int columns, uint8_t *planes) {
    const __m256i low = _mm256_set1_epi16(255);
    for (int k = 0; k < columns; k += 32, planes += 64) {
        const __m256i a = LOAD(x + k), b = LOAD(x + k + 16);
        const __m256i l = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
        const __m256i h = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
        _mm256_storeu_si256((__m256i *)planes, _mm256_permute4x64_epi64(l, 0xD8));
        _mm256_storeu_si256((__m256i *)(planes + 32), _mm256_permute4x64_epi64(h, 0xD8));
    }
}

/* Bytes of a table of 32: bit 4 of the control is bit 7 of `upper`. */
AVX2 INLINE __m256i pick_32(const uint8_t *table, __m256i control, __m256i upper) {
    return _mm256_blendv_epi8(_mm256_shuffle_epi8(BOTH(table), control), _mm256_shuffle_epi8(BOTH(table + 16), control), upper);
}

/* The control of a step, and its weights. */
typedef struct { __m256i control, upper, top, low_weights, high_weights; } step;

AVX2 INLINE step step_of(const int16_t *words) {
    const __m256i a = LOAD(words), b = LOAD(words + 16), low = _mm256_set1_epi16(255);
    const __m256i control = _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
    return (step){control, _mm256_slli_epi16(control, 3), _mm256_slli_epi16(control, 2), _mm256_srai_epi16(a, 8),
                  _mm256_srai_epi16(b, 8)};
}

AVX2 INLINE void add_step(const step *s, const uint8_t *table, int window, __m256i sums[2]) {
    __m256i low = pick_32(table, s->control, s->upper), high = pick_32(table + 32, s->control, s->upper);
    if (window == 64) {
        low = _mm256_blendv_epi8(low, pick_32(table + 64, s->control, s->upper), s->top);
        high = _mm256_blendv_epi8(high, pick_32(table + 96, s->control, s->upper), s->top);
    }
    const __m256i a = _mm256_unpacklo_epi8(low, high), b = _mm256_unpackhi_epi8(low, high);
    sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(a, s->low_weights));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(b, s->high_weights));
}

AVX2 INLINE void windows_avx2_of(const matrix *w, const uint8_t *planes, size_t size, int window, int frames,
                                 int32_t *out, size_t out_stride) {
    const int16_t *words = w->words;
    const uint16_t *column = w->column;
    for (int q = 0; q < w->tiles / 2; q++, out += WIDE) {
        const int16_t *stop = w->words + 2 * WIDE * (size_t)w->start[q + 1];
        __m256i sums[4][2];
        for (int n = 0; n < frames; n++) sums[n][0] = sums[n][1] = _mm256_setzero_si256();
        for (; words < stop; words += 2 * WIDE, column++) {
            const step s = step_of(words);
            const uint8_t *table = planes + 2 * window * (size_t)*column;
            for (int n = 0; n < frames; n++) add_step(&s, table + n * size, window, sums[n]);
        }
        for (int n = 0; n < frames; n++) {
            _mm256_storeu_si256((__m256i *)(out + n * out_stride), sums[n][0]);
            _mm256_storeu_si256((__m256i *)(out + n * out_stride + 8), sums[n][1]);
        }
    }
}

AVX2 static void windows_avx2(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,
                              size_t out_stride, uint8_t *scratch) {
    const size_t size = (size_t)(w->columns + 63) / 64 * 128;
    for (int n = 0; n < frames; n++) split(x + n * stride, (w->columns + 63) / 64 * 64, scratch + n * size);
    int n = 0;
    for (; n + 4 <= frames; n += 4, scratch += 4 * size, out += 4 * out_stride) {
        if (w->window == 32) windows_avx2_of(w, scratch, size, 32, 4, out, out_stride);
        else windows_avx2_of(w, scratch, size, 64, 4, out, out_stride);
    }
    for (; n < frames; n++, scratch += size, out += out_stride) {
        if (w->window == 32) windows_avx2_of(w, scratch, size, 32, 1, out, out_stride);
        else windows_avx2_of(w, scratch, size, 64, 1, out, out_stride);
    }
}

/* ---- AVX-512 ---- */

VNNI INLINE __m512i add_words(__m512i sum, __m512i words, const int16_t *x, int window) {
    const __m512i low = _mm512_loadu_si512(x);
    const __m512i picked = window == 32 ? _mm512_permutexvar_epi16(words, low)
                                        : _mm512_permutex2var_epi16(low, words, _mm512_loadu_si512(x + 32));
    return _mm512_dpwssd_epi32(sum, picked, _mm512_srai_epi16(words, 8));
}

/* Steps come in twos, which have sums of their own. */
VNNI INLINE void windows_vnni_of(const matrix *w, const int16_t *x, size_t stride, int window, int frames, int32_t *out,
                                 size_t out_stride) {
    const int16_t *words = w->words;
    const uint16_t *column = w->column;
    for (int q = 0; q < w->tiles / 2; q++, out += WIDE) {
        const int16_t *stop = w->words + 2 * WIDE * (size_t)w->start[q + 1];
        __m512i sums[4][2];
        for (int n = 0; n < frames; n++) sums[n][0] = sums[n][1] = _mm512_setzero_si512();
        for (; words < stop; words += 4 * WIDE, column += 2) {
            const __m512i a = _mm512_loadu_si512(words), b = _mm512_loadu_si512(words + 2 * WIDE);
            for (int n = 0; n < frames; n++) {
                const int16_t *v = x + n * stride;
                sums[n][0] = add_words(sums[n][0], a, v + window * (size_t)column[0], window);
                sums[n][1] = add_words(sums[n][1], b, v + window * (size_t)column[1], window);
            }
        }
        for (int n = 0; n < frames; n++)
            _mm512_storeu_si512(out + n * out_stride, _mm512_add_epi32(sums[n][0], sums[n][1]));
    }
}

VNNI static void windows_vnni(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,
                              size_t out_stride, uint8_t *scratch) {
    int n = 0;
    (void)scratch;
    for (; n + 4 <= frames; n += 4, x += 4 * stride, out += 4 * out_stride) {
        if (w->window == 32) windows_vnni_of(w, x, stride, 32, 4, out, out_stride);
        else windows_vnni_of(w, x, stride, 64, 4, out, out_stride);
    }
    for (; n < frames; n++, x += stride, out += out_stride) {
        if (w->window == 32) windows_vnni_of(w, x, stride, 32, 1, out, out_stride);
        else windows_vnni_of(w, x, stride, 64, 1, out, out_stride);
    }
}
#endif

product fp_windows_product(int32_t level) {
#ifdef X86
    if (level == FP_AVX512_VNNI) return windows_vnni;
    if (level == FP_AVX2) return windows_avx2;
#endif
#ifdef ARM
    if (level >= FP_NEON) return fp_neon_windows;
#endif
    (void)level;
    return windows_portable;
}
