/* Products of bytes, where inputs have at most 8 bits: four columns at a time in each of sixteen rows.
 *
 * Two forms. Dense: all columns. Picked: each row picks its four inputs out of 64 columns, by bytes of control, as rows do
 * in windows.c. VNNI multiplies unsigned inputs with signed weights: inputs come 128 higher, and `offset` of a row, -128
 * times the sum of its weights, makes up for it. AVX2 adds two such products in 16 bits, which saturates unless
 * 255 (|w0| + |w1|) stays below 2^15; where reading the file has not proven that (`narrow`), it multiplies |w| with inputs
 * that have taken the sign of w, and 2 * 128 * 127 stays below it always.
 */
#include <string.h>

#include "kernels.h"

static uint8_t flipped(int16_t x) { return (uint8_t)(x + 128); }

void fp_to_bytes(const int16_t *x, int columns, int higher, uint8_t *out) {
    for (int k = 0; k < columns; k++) out[k] = higher ? flipped(x[k]) : (uint8_t)x[k];
    memset(out + columns, 0, (size_t)(64 - columns % 64) % 64); /* what weights of zero read */
}

static uint32_t steps_to(const matrix *w, int q) {
    return w->form == DENSE_BYTES ? (uint32_t)q * fp_dense_steps(w->columns) : w->start[q];
}

static void bytes_portable(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,
                           uint8_t *scratch) {
    for (int n = 0; n < frames; n++, out += out_stride) {
        const int8_t *v = (const int8_t *)scratch;
        fp_to_bytes(x + n * stride, w->columns, 0, scratch);
        for (int q = 0; q < w->tiles / 2; q++) {
            int32_t sums[WIDE] = {0};
            const uint32_t first = steps_to(w, q), end = steps_to(w, q + 1);
            for (uint32_t s = first; s < end; s++)
                for (int k = 0; k < 4 * WIDE; k++) {
                    const size_t place = (size_t)s * 4 * WIDE + k;
                    const size_t column = w->form == DENSE_BYTES ? 4 * (size_t)(s - first) + k % 4
                                                                 : 64 * (size_t)w->column[s] + w->control[place];
                    sums[k / 4] += w->weights[place] * v[column];
                }
            memcpy(out + (size_t)q * WIDE, sums, sizeof sums);
        }
    }
}

#ifdef X86
static size_t bytes_of(const matrix *w) { return (size_t)(w->columns + 63) / 64 * 64; }

#define LOAD(P) _mm256_loadu_si256((const __m256i *)(P))
#define BOTH(P) _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(P)))

/* ---- AVX2: `dense` and `narrow` are known when this is compiled ---- */

typedef struct { __m256i weights, size, control, upper, top; } half; /* a step's eight rows */

AVX2 INLINE half half_of(const matrix *w, size_t place, int dense, int narrow) {
    half h;
    h.weights = LOAD(w->weights + place);
    if (!narrow) h.size = _mm256_abs_epi8(h.weights);
    if (dense) return h;
    h.control = LOAD(w->control + place);
    h.upper = _mm256_slli_epi16(h.control, 3); /* bit 4 of a byte becomes bit 7 */
    h.top = _mm256_slli_epi16(h.control, 2);
    return h;
}

AVX2 INLINE __m256i picked(const half *h, const uint8_t *table) {
    const __m256i low = _mm256_blendv_epi8(_mm256_shuffle_epi8(BOTH(table), h->control),
                                           _mm256_shuffle_epi8(BOTH(table + 16), h->control), h->upper);
    const __m256i high = _mm256_blendv_epi8(_mm256_shuffle_epi8(BOTH(table + 32), h->control),
                                            _mm256_shuffle_epi8(BOTH(table + 48), h->control), h->upper);
    return _mm256_blendv_epi8(low, high, h->top);
}

AVX2 INLINE __m256i dot_bytes(__m256i sum, const half *h, __m256i x, int narrow) {
    const __m256i pairs = narrow ? _mm256_maddubs_epi16(x, h->weights)
                                 : _mm256_maddubs_epi16(h->size, _mm256_sign_epi8(x, h->weights));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2 INLINE __m256i four_columns(const uint8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm256_set1_epi32(four);
}

AVX2 INLINE void bytes_avx2_of(const matrix *w, const uint8_t *x, size_t size, int dense, int narrow, int frames,
                               int32_t *out, size_t out_stride) {
    for (int q = 0; q < w->tiles / 2; q++, out += WIDE) {
        const uint32_t first = steps_to(w, q), end = steps_to(w, q + 1);
        __m256i sums[4][2];
        for (int n = 0; n < frames; n++) {
            sums[n][0] = narrow ? LOAD(w->offset + q * WIDE) : _mm256_setzero_si256();
            sums[n][1] = narrow ? LOAD(w->offset + q * WIDE + 8) : _mm256_setzero_si256();
        }
        for (uint32_t s = first; s < end; s++) {
            const half a = half_of(w, (size_t)s * 64, dense, narrow), b = half_of(w, (size_t)s * 64 + 32, dense, narrow);
            const uint8_t *v = x + (dense ? 4 * (size_t)(s - first) : 64 * (size_t)w->column[s]);
            for (int n = 0; n < frames; n++, v += size) {
                const __m256i all = dense ? four_columns(v) : a.weights;
                sums[n][0] = dot_bytes(sums[n][0], &a, dense ? all : picked(&a, v), narrow);
                sums[n][1] = dot_bytes(sums[n][1], &b, dense ? all : picked(&b, v), narrow);
            }
        }
        for (int n = 0; n < frames; n++) {
            _mm256_storeu_si256((__m256i *)(out + n * out_stride), sums[n][0]);
            _mm256_storeu_si256((__m256i *)(out + n * out_stride + 8), sums[n][1]);
        }
    }
}

#define BYTES_AVX2(DENSE, NARROW)                                                                                      \
    AVX2 static void bytes_avx2_##DENSE##NARROW(const matrix *w, const uint8_t *x, int frames, int32_t *out,           \
                                                size_t out_stride) {                                                   \
        const size_t size = bytes_of(w);                                                                               \
        int n = 0;                                                                                                     \
        for (; n + 4 <= frames; n += 4)                                                                                \
            bytes_avx2_of(w, x + n * size, size, DENSE, NARROW, 4, out + n * out_stride, out_stride);                  \
        for (; n < frames; n++) bytes_avx2_of(w, x + n * size, size, DENSE, NARROW, 1, out + n * out_stride, out_stride); \
    }
BYTES_AVX2(0, 0)
BYTES_AVX2(0, 1)
BYTES_AVX2(1, 0)
BYTES_AVX2(1, 1)

/* `higher`: inputs that the instructions take as unsigned. */
AVX2 static void all_to_bytes(const matrix *w, const int16_t *x, size_t stride, int frames, int higher, uint8_t *out) {
    const size_t size = bytes_of(w);
    for (int n = 0; n < frames; n++) fp_to_bytes(x + n * stride, w->columns, higher, out + n * size);
}

AVX2 static void bytes_avx2(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,
                            size_t out_stride, uint8_t *scratch) {
    all_to_bytes(w, x, stride, frames, w->narrow, scratch);
    if (w->form == DENSE_BYTES) (w->narrow ? bytes_avx2_11 : bytes_avx2_10)(w, scratch, frames, out, out_stride);
    else (w->narrow ? bytes_avx2_01 : bytes_avx2_00)(w, scratch, frames, out, out_stride);
}

/* ---- AVX-512 ---- */

VBMI INLINE void bytes_vnni_of(const matrix *w, const uint8_t *x, size_t size, int dense, int frames, int32_t *out,
                               size_t out_stride) {
    for (int q = 0; q < w->tiles / 2; q++, out += WIDE) {
        const uint32_t first = steps_to(w, q), end = steps_to(w, q + 1);
        __m512i sums[4][2];
        for (int n = 0; n < frames; n++) {
            sums[n][0] = _mm512_loadu_si512(w->offset + q * WIDE);
            sums[n][1] = _mm512_setzero_si512();
        }
        for (uint32_t s = first; s < end; s += 2)
            for (int k = 0; k < 2; k++) { /* sums of their own, since adding takes longer than multiplying */
                const __m512i weights = _mm512_loadu_si512(w->weights + (size_t)(s + k) * 64);
                const __m512i control = dense ? weights : _mm512_loadu_si512(w->control + (size_t)(s + k) * 64);
                const uint8_t *v = x + (dense ? 4 * (size_t)(s + k - first) : 64 * (size_t)w->column[s + k]);
                for (int n = 0; n < frames; n++, v += size) {
                    int32_t four;
                    memcpy(&four, v, sizeof four);
                    const __m512i inputs = dense ? _mm512_set1_epi32(four)
                                                 : _mm512_permutexvar_epi8(control, _mm512_loadu_si512(v));
                    sums[n][k] = _mm512_dpbusd_epi32(sums[n][k], inputs, weights);
                }
            }
        for (int n = 0; n < frames; n++)
            _mm512_storeu_si512(out + n * out_stride, _mm512_add_epi32(sums[n][0], sums[n][1]));
    }
}

VBMI static void bytes_vnni(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out,
                            size_t out_stride, uint8_t *scratch) {
    const size_t size = bytes_of(w);
    int n = 0;
    all_to_bytes(w, x, stride, frames, 1, scratch);
    for (; n + 4 <= frames; n += 4, scratch += 4 * size, out += 4 * out_stride) {
        if (w->form == DENSE_BYTES) bytes_vnni_of(w, scratch, size, 1, 4, out, out_stride);
        else bytes_vnni_of(w, scratch, size, 0, 4, out, out_stride);
    }
    for (; n < frames; n++, scratch += size, out += out_stride) {
        if (w->form == DENSE_BYTES) bytes_vnni_of(w, scratch, size, 1, 1, out, out_stride);
        else bytes_vnni_of(w, scratch, size, 0, 1, out, out_stride);
    }
}
#endif

/* A permutation of 64 bytes is more than VNNI asks for; Cascade Lake has none. */
int fp_has_byte_permutation(void) {
#ifdef X86
    __builtin_cpu_init();
    return fp_best_level() == FP_AVX512_VNNI && __builtin_cpu_supports("avx512vbmi");
#else
    return 0;
#endif
}

product fp_bytes_product(int32_t level) {
#ifdef X86
    if (level == FP_AVX512_VNNI && fp_has_byte_permutation()) return bytes_vnni;
    if (level >= FP_AVX2) return bytes_avx2;
#endif
#ifdef ARM
    if (level >= FP_NEON) return level == FP_NEON_DOT ? fp_neon_dot_bytes : fp_neon_bytes;
#endif
    (void)level;
    return bytes_portable;
}
