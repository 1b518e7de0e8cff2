/* The products on Arm: every form of a matrix but windows of 64, which fp_lay_out does not choose there.
 *
 * Bytes are multiplied by sdot where the chip has it (Armv8.2 with dot products), else by smull and added in pairs; both
 * take signed inputs, so that nothing is offset. Inputs are picked by tbl, out of 64 bytes: 64 inputs of 8 bits, or 32 of 16.
 */
#include <string.h>

#include "kernels.h"

#ifdef ARM
#include <arm_neon.h>
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

typedef struct { int32x4_t rows[4]; } sixteen; /* sums of sixteen rows */

INLINE void put(int32_t *out, const sixteen *sums, int count) {
    for (int k = 0; k < count; k++) vst1q_s32(out + 4 * k, sums->rows[k]);
}

/* ---- tiles: eight rows, two columns ---- */

INLINE void add_columns(sixteen *sums, int16x8_t first, int16x8_t second, const int16_t *x) {
    sums->rows[0] = vmlal_n_s16(sums->rows[0], vget_low_s16(first), x[0]);
    sums->rows[1] = vmlal_high_n_s16(sums->rows[1], first, x[0]);
    sums->rows[0] = vmlal_n_s16(sums->rows[0], vget_low_s16(second), x[1]);
    sums->rows[1] = vmlal_high_n_s16(sums->rows[1], second, x[1]);
}

INLINE void tiles_of(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride) {
    for (int p = 0; p < w->tiles; p++, out += ROWS) {
        sixteen sums[4];
        memset(sums, 0, sizeof sums);
        for (uint32_t s = w->start[p]; s < w->start[p + 1]; s++) {
            const int8x8x2_t k = vld2_s8(w->weights + 2 * ROWS * (size_t)s);
            const int16x8_t first = vmovl_s8(k.val[0]), second = vmovl_s8(k.val[1]);
            for (int n = 0; n < frames; n++) add_columns(&sums[n], first, second, x + n * stride + 2 * (size_t)w->column[s]);
        }
        for (int n = 0; n < frames; n++) put(out + n * out_stride, &sums[n], 2);
    }
}

void fp_neon_tiles(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,
                   uint8_t *scratch) {
    int n = 0;
    (void)scratch;
    for (; n + 4 <= frames; n += 4) tiles_of(w, x + n * stride, stride, 4, out + n * out_stride, out_stride);
    for (; n < frames; n++) tiles_of(w, x + n * stride, stride, 1, out + n * out_stride, out_stride);
}

/* ---- windows of 32 columns ---- */

/* Sums of four rows, from eight words. */
INLINE int32x4_t four_rows(int32x4_t sums, int16x8_t words, uint8x16x4_t table) {
    /* The bytes 2 c and 2 c + 1 are those of column c. */
    const uint16x8_t column = vandq_u16(vreinterpretq_u16_s16(words), vdupq_n_u16(31));
    const uint16x8_t control = vmlaq_n_u16(vdupq_n_u16(0x0100), column, 0x0202);
    const int16x8_t x = vreinterpretq_s16_u8(vqtbl4q_u8(table, vreinterpretq_u8_u16(control)));
    const int16x8_t weights = vshrq_n_s16(words, 8);
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(weights)), high = vmull_high_s16(x, weights);
    return vaddq_s32(sums, vpaddq_s32(low, high));
}

void fp_neon_windows(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,
                     uint8_t *scratch) {
    (void)scratch;
    for (int n = 0; n < frames; n++)
        for (int q = 0; q < w->tiles / 2; q++) {
            sixteen sums;
            memset(&sums, 0, sizeof sums);
            for (uint32_t s = w->start[q]; s < w->start[q + 1]; s++) {
                const uint8x16x4_t table = vld1q_u8_x4((const uint8_t *)(x + n * stride + 32 * (size_t)w->column[s]));
                const int16_t *words = w->words + 2 * WIDE * (size_t)s;
                for (int k = 0; k < 4; k++) sums.rows[k] = four_rows(sums.rows[k], vld1q_s16(words + 8 * k), table);
            }
            put(out + n * out_stride + (size_t)q * WIDE, &sums, 4);
        }
}

/* ---- bytes ---- */

INLINE int32x4_t dot_plain(int32x4_t sums, int8x16_t a, int8x16_t b) {
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b))), high = vpaddlq_s16(vmull_high_s8(a, b));
    return vaddq_s32(sums, vpaddq_s32(low, high));
}

DOTPROD INLINE int32x4_t dot_product(int32x4_t sums, int8x16_t a, int8x16_t b) { return vdotq_s32(sums, a, b); }

INLINE int8x16_t four_columns(const uint8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

#define BYTES(NAME, TARGET, DOT)                                                                                       \
    TARGET void NAME(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,    \
                     uint8_t *scratch) {                                                                               \
        for (int n = 0; n < frames; n++, out += out_stride) {                                                          \
            fp_to_bytes(x + n * stride, w->columns, 0, scratch);                                                       \
            for (int q = 0; q < w->tiles / 2; q++) {                                                                   \
                sixteen sums;                                                                                          \
                memset(&sums, 0, sizeof sums);                                                                         \
                for (uint32_t s = w->start[q]; s < w->start[q + 1]; s++) {                                             \
                    const int8_t *weights = w->weights + (size_t)s * 4 * WIDE;                                         \
                    if (w->form == DENSE_BYTES) {                                                                      \
                        const int8x16_t v = four_columns(scratch + 4 * (size_t)(s - w->start[q]));                     \
                        for (int k = 0; k < 4; k++) sums.rows[k] = DOT(sums.rows[k], vld1q_s8(weights + 16 * k), v);   \
                    } else {                                                                                           \
                        const uint8x16x4_t table = vld1q_u8_x4(scratch + 64 * (size_t)w->column[s]);                   \
                        const uint8_t *control = w->control + (size_t)s * 4 * WIDE;                                    \
                        for (int k = 0; k < 4; k++) {                                                                  \
                            const uint8x16_t v = vqtbl4q_u8(table, vld1q_u8(control + 16 * k));                        \
                            sums.rows[k] = DOT(sums.rows[k], vld1q_s8(weights + 16 * k), vreinterpretq_s8_u8(v));      \
                        }                                                                                              \
                    }                                                                                                  \
                }                                                                                                      \
                put(out + (size_t)q * WIDE, &sums, 4);                                                                 \
            }                                                                                                          \
        }                                                                                                              \
    }
BYTES(fp_neon_bytes, , dot_plain)
BYTES(fp_neon_dot_bytes, DOTPROD, dot_product)
#endif
