/* Products of a matrix with frames of integers, one file for each form of a matrix. Internal to the runtime. */
#ifndef FRENCHPRESS_KERNELS_H
#define FRENCHPRESS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "model.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(FP_NO_VECTORS)
#include <immintrin.h>
#define X86 1
#define AVX2 __attribute__((target("avx2,tune=haswell")))
#ifndef VNNI /* a test has the instructions computed in C */
#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512,tune=icelake-server")))
#define VBMI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi,prefer-vector-width=512,tune=icelake-server")))
#endif
#endif
#if defined(__aarch64__) && defined(__GNUC__) && !defined(FP_NO_VECTORS)
#define ARM 1
#endif
#define INLINE static inline __attribute__((always_inline))

/* out[n] = W x[n] for `frames` frames that lie `stride` and `out_stride` apart, rows in the order of tiles. Vectors may
 * read up to SLACK numbers past the end of x. `scratch`: two bytes for each number of x and SLACK. */
typedef void multiply(const matrix *w, const int16_t *x, size_t stride, int frames, int32_t *out, size_t out_stride,
                      uint8_t *scratch);
typedef multiply *product;

enum { SLACK = 2 * 64 };

product fp_tiles_product(int32_t level);
product fp_pairs_product(int32_t level);
product fp_windows_product(int32_t level);
product fp_bytes_product(int32_t level);
int fp_has_byte_permutation(void);
multiply fp_single_product, fp_neon_tiles, fp_neon_windows, fp_neon_bytes, fp_neon_dot_bytes;

/* Of a frame, what moved since the frame before: pairs of columns, and by how much, two numbers of 16 bits. */
typedef struct {
    int count;
    uint16_t *place;
    int32_t *change;
} moves;

/* Sums [tiles][8] of the frame before, brought to those of each frame of `moved`, which are written to `out` too. */
typedef void add_moves(const matrix *w, const moves *moved, int frames, int32_t *sums, int32_t *out, size_t out_stride);
add_moves *fp_pairs_moved(int32_t level);

/* Of the frame before: its inputs [columns], which were zeros at first, and its sums [tiles][8]. */
typedef struct {
    int16_t *x;
    int32_t *sums;
} kept;

/* The product of a matrix of pairs or of columns, for which what moved alone is computed where that takes less time; then
 * `k` is of the last frame. Where its sums are: those of several frames in `out`, those of one in `k`. `moved`, of pairs, has
 * place for as many frames. */
const int32_t *fp_moved_product(const matrix *w, int32_t level, const int16_t *x, size_t stride, int frames, int32_t *out,
                                size_t out_stride, kept *k, moves *moved);

/* Bytes of `columns` inputs, zeros up to a multiple of 64: as they are, or 128 higher. */
void fp_to_bytes(const int16_t *x, int columns, int higher, uint8_t *out);

#endif
