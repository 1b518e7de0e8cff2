/* Reading a packed file from strangers, piece by piece. Internal to the runtime. */
#ifndef FRENCHPRESS_READER_H
#define FRENCHPRESS_READER_H

#include <stddef.h>
#include <stdint.h>

#include "model.h"

typedef struct {
    const uint8_t *at, *end;
    char *error;
    size_t error_size;
} reader;

int fp_fail(reader *r, const char *format, ...); /* say what is wrong; 0, so that a check can end with it */
const uint8_t *fp_take(reader *r, size_t size);  /* the next `size` bytes, NULL when there are fewer */
void *fp_array(reader *r, size_t count, size_t size); /* zeros, NULL when out of memory */

static inline uint32_t u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t u32(const uint8_t *p) { return u16(p) | u16(p + 2) << 16; }

typedef struct { const uint8_t *data; uint64_t at, end; } bits;

/* The next `count` bits, at most 62; -1 at the end. */
static inline int64_t next_bits(bits *b, int count) {
    if (b->end - b->at < (uint64_t)count) return -1;
    int64_t value = 0;
    for (int i = 0; i < count; i++, b->at++) value |= (int64_t)(b->data[b->at >> 3] >> (b->at & 7) & 1) << i;
    return value;
}

/* What says which weights of a mask are kept, in place of a number of levels. */
enum { MAX_LEVELS = 16, COUNTED = 254, RUNS = 255 };

typedef struct { uint32_t block, numerator, denominator; } level;
typedef struct { uint32_t kept; int width; } runs; /* of a mask: weights kept, bits of a number */

/* Blocks of height x width that keep count[0] weights each; [1] at the right edge, [2] at the bottom, [3] in the corner. */
typedef struct { int height, width, count[4]; } counted;

/* A matrix as the file has it. */
typedef struct {
    int rows, columns, gates, width, levels, masks;
    level level[MAX_LEVELS];
    runs runs[GATES];
    counted counted;
    uint8_t *mask;  /* [masks][rows][columns], NULL when dense */
    int8_t *values; /* [gates][rows][columns] */
} plain;

static inline int kept_here(const plain *m, size_t place) {
    if (!m->mask) return 1;
    const size_t one = (size_t)m->rows * m->columns;
    return m->mask[place % (one * m->masks)];
}

/* Row of a matrix of `gates` x `rows` rows that is row `k` of tile `p`; -1 for padding. */
static inline int row_of(int gates, int rows, int p, int k) {
    if (gates == 1) return ROWS * p + k < rows ? ROWS * p + k : -1;
    const int cell = 2 * p + k % 2;
    return cell < rows ? k / 2 * rows + cell : -1;
}

static inline int tiles_of(int gates, int rows) { return (gates * rows + WIDE - 1) / WIDE * 2; }

/* index.c: what stands before the bits of the masks, and these bits; 0 when damaged, with a line. */
int fp_read_index_head(reader *r, plain *m);
int fp_read_masks(reader *r, bits *b, plain *m);

/* windows_layout.c: the forms in which rows pick their inputs, and dense bytes. `start` counts the steps,
 * `slots` weights of each row in one; fill in the rest. */
uint32_t fp_count_windows(const plain *m, int tiles, int window, int slots, uint32_t *start);
int fp_window_up(reader *r, const plain *m, matrix *t, int window);
int fp_pick_up(reader *r, const plain *m, matrix *t);
int fp_line_bytes_up(reader *r, const plain *m, matrix *t);

/* layout.c: the form that is computed with, inputs being at most `top`, of which each row's largest sum, with inputs of `top`, is asked for. */
int fp_lay_out(reader *r, const plain *m, matrix *t, int32_t top);
int fp_turn(reader *r, matrix *t); /* single weights row by row -> column by column, where row numbers have 16 bits */
int64_t fp_row_limit(const matrix *t, int row, int32_t top); /* rows in the order of tiles */
int64_t fp_matrix_macs(const matrix *t);
int64_t fp_matrix_bytes(const matrix *t);
void fp_free_matrix(matrix *t);

#endif
