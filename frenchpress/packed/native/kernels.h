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
product fp_windows_product(int32_t level);
product fp_bytes_product(int32_t level);
int fp_has_byte_permutation(void);
multiply fp_single_product, fp_neon_tiles, fp_neon_windows, fp_neon_bytes, fp_neon_dot_bytes;

/* Bytes of `columns` inputs, zeros up to a multiple of 64: as they are, or 128 higher. */
void fp_to_bytes(const int16_t *x, int columns, int higher, uint8_t *out);

#endif
