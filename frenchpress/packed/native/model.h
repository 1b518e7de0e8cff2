/* What the reader makes of a packed file and the kernels compute with. Internal to the runtime. */
#ifndef FRENCHPRESS_MODEL_H
#define FRENCHPRESS_MODEL_H

#include "press.h"

enum { ROWS = 8, STEPS = 4, BLOCK = 8, WIDE = 16, GATES = 4, MAX_LAYERS = 61, VECTOR = 16 /* numbers that a load may reach past the end */ };

/* A matrix in one of seven forms.
 *
 * Tiles: weights in steps of eight rows and two neighbouring columns, of which any is kept: w[row][0..1] of one step lie
 * side by side, 16 bytes. Tile p has eight rows: of an LSTM those of cells 2p and 2p + 1 in all four gates
 * (i0 i1 f0 f1 g0 g1 o0 o1), else rows 8p to 8p + 7; of tiles there is an even number. Its steps are filled up to a multiple of STEPS with zeros. Whatever
 * has a number for each row lies in the order of tiles too, [tiles][8].
 *
 * Pairs: a dense matrix in the same steps, of all columns; of up to BLOCK tiles side by side, [blocks][columns / 2][tile].
 *
 * Single: kept weights one by one, row by row in the same order; for masks without structure where there are no vectors.
 *
 * Columns: the same column by column, where inputs stand still.
 *
 * Windows: in steps of sixteen rows, those of two tiles, and two weights of each row within the same `window` columns,
 * 32 or 64: (weight << 8 | column in the window). Rows with fewer have weights of zero. Steps come in twos.
 *
 * Bytes, where inputs have at most 8 bits: in steps of sixteen rows and four weights of each, either of four neighbouring
 * columns, all of them in order, or of those columns of a window of 64 that `control` says. Steps come in twos. */
typedef enum { TILES, PAIRS, SINGLE, COLUMNS, WINDOWS, DENSE_BYTES, PICKED_BYTES } form;

static inline uint32_t fp_dense_steps(int columns) { return (uint32_t)(columns + 7) / 8 * 2; }

typedef struct {
    form form;
    int32_t tiles;
    int32_t columns;
    int32_t window;
    uint32_t *start;  /* first step of each tile, of each two tiles, or first weight of each row or column; and the end */
    uint16_t *column; /* [steps] column / 2; [weights] column, of columns row; [steps] column / window, of bytes 64 */
    int8_t *weights;  /* [steps][8][2]; [weights]; [steps][16][4] */
    int16_t *words;   /* [steps][16][2] */
    uint8_t *control; /* [steps][16][4] column in the window */
    int32_t *offset;  /* of bytes: -128 times the sum of each row's weights */
    int32_t narrow;   /* of bytes: 255 times any two neighbouring weights stays below 2^15 */
    int32_t still;    /* its inputs can stand still: a stream keeps the sums, and adds what moved */
    void *memory;     /* of pairs: in which the weights begin with a cache line */
} matrix;

/* Of pairs: how many there are, tiles in the block that begins with tile p, and the number of a step. */
static inline int fp_pairs(const matrix *w) { return (w->columns + 1) / 2; }
static inline int fp_block_of(const matrix *w, int p) { return w->tiles - p < BLOCK ? w->tiles - p : BLOCK; }
static inline size_t fp_step_of(const matrix *w, int p, int pair) {
    const int first = p / BLOCK * BLOCK;
    return (size_t)first * fp_pairs(w) + (size_t)pair * fp_block_of(w, first) + p % BLOCK;
}

typedef struct { int32_t multiplier, shift; } requantizer;

typedef struct {
    int32_t cells, padded; /* padded to a multiple of four */
    int32_t input_top, output_top;
    requantizer input;
    int32_t out_multiplier, shift;
    int32_t *along, *back, *bias; /* [tiles][8] */
    matrix input_matrix, recurrent_matrix;
    int32_t hold_input, hold_output; /* what has moved by no more since it was last sent on is seen as it was then */
} lstm_layer;

struct fp_model {
    int32_t dim, left, right, input_top;
    int32_t stride, spliced; /* frames from one of a splice to the next; how many it has */
    float *mean, *gain;
    int32_t layers;
    lstm_layer layer[MAX_LAYERS];
    int32_t outputs, padded_outputs;
    int32_t head_top, head_shift;
    requantizer head_input;
    int32_t *multiplier, *head_bias;
    matrix head;
    int32_t level;
    uint32_t sigmoid[2048];
};

#endif
