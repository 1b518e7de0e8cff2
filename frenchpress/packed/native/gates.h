/* What comes after the products of a layer, for each instruction set. Internal to the runtime. */
#ifndef FRENCHPRESS_GATES_H
#define FRENCHPRESS_GATES_H

#include "kernels.h"

enum { VALUE_BITS = 20, STEP_BITS = 9, ENTRIES = 2048, CELL_BITS = 24, OUT_SHIFT = 10 };

INLINE int64_t shifted(int64_t value, int shift) { return (value + (INT64_C(1) << shift >> 1)) >> shift; }
INLINE int64_t limited(int64_t value, int64_t top) { return value < -top ? -top : value > top ? top : value; }

/* Sums over the inputs and over the layer's own outputs -> the next cell state and outputs. The gates' arguments go into `z`
 * [4 padded], which can be `ah`, their values into `value`; c and out are written up to a multiple of 8 cells. */
typedef void fp_step(const fp_model *m, const lstm_layer *l, const int32_t *ax, const int32_t *ah, int32_t *z, int32_t *value,
                     int32_t *c, int16_t *out);
fp_step fp_step_portable, fp_step_avx2, fp_step_vnni;

#endif
