/* From a matrix as the file has it to the form that is computed with. */
#include <stdlib.h>

#include "kernels.h"
#include "reader.h"

/* Whether any row of tile `p` keeps one of the two columns of `pair`. */
static int pair_kept(const plain *m, int p, int pair) {
    for (int k = 0; k < ROWS; k++) {
        const int row = row_of(m->gates, m->rows, p, k);
        if (row < 0) continue;
        const size_t place = (size_t)row * m->columns + 2 * pair;
        if (kept_here(m, place) || (2 * pair + 1 < m->columns && kept_here(m, place + 1))) return 1;
    }
    return 0;
}

static void fill_step(const plain *m, int p, int pair, int8_t *weights) {
    for (int k = 0; k < ROWS; k++) {
        const int row = row_of(m->gates, m->rows, p, k);
        if (row < 0) continue;
        const size_t place = (size_t)row * m->columns + 2 * pair;
        weights[2 * k] = m->values[place];
        if (2 * pair + 1 < m->columns) weights[2 * k + 1] = m->values[place + 1];
    }
}

static int tile_up(reader *r, const plain *m, matrix *t) {
    const int pairs = (m->columns + 1) / 2;
    const size_t steps = t->start[t->tiles];
    if (!(t->column = fp_array(r, steps, 2)) || !(t->weights = fp_array(r, steps, 2 * ROWS))) return 0;
    for (int p = 0; p < t->tiles; p++) {
        uint32_t step = t->start[p];
        for (int pair = 0; pair < pairs; pair++)
            if (pair_kept(m, p, pair)) {
                t->column[step] = (uint16_t)pair;
                fill_step(m, p, pair, t->weights + (size_t)2 * ROWS * step++);
            }
    }
    return 1;
}

/* A dense matrix. A block is read as if it had all its tiles, so that the last one needs some bytes after it. */
static int pair_up(reader *r, const plain *m, matrix *t) {
    enum { LINE = 64 };
    t->form = PAIRS;
    for (int p = 0; p < t->tiles; p++) t->start[p + 1] = t->start[p] + (uint32_t)fp_pairs(t);
    if (!(t->memory = fp_array(r, (size_t)t->start[t->tiles] + BLOCK + LINE / (2 * ROWS), 2 * ROWS))) return 0;
    t->weights = (int8_t *)t->memory + (LINE - (uintptr_t)t->memory % LINE) % LINE;
    for (int p = 0; p < t->tiles; p++)
        for (int pair = 0; pair < fp_pairs(t); pair++) fill_step(m, p, pair, t->weights + 2 * ROWS * fp_step_of(t, p, pair));
    return 1;
}

/* Kept weights one by one, `count` of them. */
static int line_up(reader *r, const plain *m, matrix *t, size_t count) {
    t->form = SINGLE;
    if (!(t->column = fp_array(r, count, 2)) || !(t->weights = fp_array(r, count, 1))) return 0;
    uint32_t weight = 0;
    for (int i = 0; i < ROWS * t->tiles; i++) {
        const int row = row_of(m->gates, m->rows, i / ROWS, i % ROWS);
        for (int column = 0; row >= 0 && column < m->columns; column++) {
            const size_t place = (size_t)row * m->columns + column;
            if (!kept_here(m, place)) continue;
            t->column[weight] = (uint16_t)column;
            t->weights[weight++] = m->values[place];
        }
        t->start[i + 1] = weight;
    }
    return 1;
}

static size_t count_kept(const plain *m) {
    size_t kept = 0;
    for (size_t place = 0; place < (size_t)m->gates * m->rows * m->columns; place++) kept += kept_here(m, place);
    return kept;
}

int fp_turn(reader *r, matrix *t) {
    const uint32_t rows = (uint32_t)ROWS * t->tiles, count = t->start[rows];
    if (rows > 1 << 16) return 1;
    matrix by = *t;
    by.form = COLUMNS, by.start = fp_array(r, (size_t)t->columns + 2, 4), by.column = fp_array(r, count, 2);
    by.weights = fp_array(r, count, 1);
    const int good = by.start && by.column && by.weights;
    if (good) {
        uint32_t *next = by.start + 1; /* where a column's next weight goes; in the end where the next column begins */
        for (uint32_t i = 0; i < count; i++) next[t->column[i] + 1]++;
        for (int c = 0; c < t->columns; c++) next[c + 1] += next[c];
        for (uint32_t row = 0; row < rows; row++)
            for (uint32_t i = t->start[row]; i < t->start[row + 1]; i++) {
                const uint32_t place = next[t->column[i]]++;
                by.column[place] = (uint16_t)row;
                by.weights[place] = t->weights[i];
            }
    }
    fp_free_matrix(good ? t : &by);
    if (good) *t = by;
    return good;
}

/* ---- all forms ---- */

static uint32_t count_tiles(const plain *m, int tiles, uint32_t *start) {
    for (int p = 0; p < tiles; p++) {
        uint32_t count = 0;
        for (int pair = 0; pair < (m->columns + 1) / 2; pair++) count += pair_kept(m, p, pair);
        start[p + 1] = start[p] + (count + STEPS - 1) / STEPS * STEPS;
    }
    return start[tiles];
}

/* With vectors a step of tiles takes no longer than a single weight. These are the times of a step beside each other: of
 * tiles, of windows of 32 and of 64 (Arm has none), of picked bytes; AVX2 by measurement, the others as their instructions
 * suggest. */
static const int *times(void) {
    static const int avx2[] = {10, 34, 58, 56}, vnni[] = {10, 22, 32, 60}, permuting[] = {10, 22, 32, 28};
    static const int neon[] = {10, 40, 1 << 20, 30};
    if (fp_best_level() >= FP_NEON) return neon;
    if (fp_best_level() != FP_AVX512_VNNI) return avx2;
    return fp_has_byte_permutation() ? permuting : vnni;
}

static int lay_out_for_vectors(reader *r, const plain *m, matrix *t, int bytes) {
    const int *each = times();
    const uint64_t narrow = (uint64_t)each[1] * fp_count_windows(m, t->tiles, 32, 2, t->start);
    const uint64_t wide = (uint64_t)each[2] * fp_count_windows(m, t->tiles, 64, 2, t->start);
    const uint64_t picked = (uint64_t)each[3] * fp_count_windows(m, t->tiles, 64, 4, t->start);
    const uint64_t tiles = (uint64_t)each[0] * count_tiles(m, t->tiles, t->start);
    const uint64_t best = narrow < wide ? narrow : wide;
    if (bytes && picked < best && picked < tiles) return fp_pick_up(r, m, t);
    if (best < tiles) return fp_window_up(r, m, t, narrow <= wide ? 32 : 64);
    return tile_up(r, m, t);
}

/* The form that is faster. Without vectors a step of tiles takes as long as nine single weights (x86; elsewhere a compiler
 * may make more of it, so four are taken for as long). */
int fp_lay_out(reader *r, const plain *m, matrix *t, int32_t top) {
    t->tiles = tiles_of(m->gates, m->rows), t->columns = m->columns;
    if (!(t->start = fp_array(r, (size_t)ROWS * t->tiles + 1, 4))) return 0;
    const int vectors = fp_best_level() != FP_PORTABLE;
    if (vectors && !m->mask && top < 128) return fp_line_bytes_up(r, m, t);
    if (vectors && m->mask) return lay_out_for_vectors(r, m, t, top < 128);
    if (!m->mask && fp_best_level() < FP_NEON) return pair_up(r, m, t);
    const uint32_t steps = count_tiles(m, t->tiles, t->start);
    const size_t kept = count_kept(m);
    return !vectors && kept < 4 * (size_t)steps ? line_up(r, m, t, kept) : tile_up(r, m, t);
}

static int height_of(const matrix *t) { return t->form == TILES || t->form == PAIRS ? ROWS : t->form == SINGLE ? 1 : WIDE; }

static int slots_of(const matrix *t) { return t->form == SINGLE ? 1 : t->words || height_of(t) == ROWS ? 2 : 4; }

/* The largest sum of each row, in the order of tiles: inputs of `top` where weights are positive, -top elsewhere. */
int64_t fp_row_limit(const matrix *t, int row, int32_t top) {
    const int height = height_of(t), slots = slots_of(t);
    const size_t first = t->start[row / height], end = t->start[row / height + 1];
    int64_t sum = 0;
    for (size_t s = first; s < end; s++)
        for (int k = 0; k < slots; k++) {
            const size_t step = t->form == PAIRS ? fp_step_of(t, row / height, (int)(s - first)) : s;
            const size_t place = slots * (step * height + row % height) + k;
            sum += t->words ? abs(t->words[place] >> 8) : abs(t->weights[place]);
        }
    return sum * top;
}

static int64_t steps(const matrix *t) { return t->start[ROWS * t->tiles / height_of(t)]; }

int64_t fp_matrix_macs(const matrix *t) {
    return t->form == COLUMNS ? t->start[t->columns] : steps(t) * slots_of(t) * height_of(t);
}

int64_t fp_matrix_bytes(const matrix *t) {
    const int64_t macs = fp_matrix_macs(t), each = t->words || t->control ? 2 : 1;
    if (t->form == COLUMNS) return 3 * macs + 4 * (int64_t)t->columns;
    const int64_t starts = t->form == SINGLE ? 4 * ROWS * (int64_t)t->tiles : 0;
    return each * macs + (t->column ? 2 * steps(t) : 0) + starts;
}

void fp_free_matrix(matrix *t) {
    free(t->start);
    free(t->column);
    free(t->memory ? t->memory : t->weights);
    free(t->words);
    free(t->control);
    free(t->offset);
}
