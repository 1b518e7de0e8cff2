/* From a matrix as the file has it to the form that is computed with. */
#include <stdlib.h>

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

/* ---- windows ---- */

/* Columns that `row`, in the order of tiles, keeps within a window, in `found`; how many. */
static int kept_in_window(const plain *m, int row, int left, int window, int *found) {
    const int source = row_of(m->gates, m->rows, row / ROWS, row % ROWS);
    const int right = left + window < m->columns ? left + window : m->columns;
    int count = 0;
    for (int column = left; source >= 0 && column < right; column++)
        if (kept_here(m, (size_t)source * m->columns + column)) found[count++] = column;
    return count;
}

/* Steps that rows 16 q to 16 q + 15 need for a window: those of the row that keeps most. */
static int steps_of_window(const plain *m, int q, int left, int window) {
    int most = 0, found[64];
    for (int k = 0; k < WIDE; k++) {
        const int count = kept_in_window(m, WIDE * q + k, left, window, found);
        if (count > most) most = count;
    }
    return (most + 1) / 2;
}

/* First step of every two tiles; how many steps there are. */
static uint32_t count_windows(const plain *m, int tiles, int window, uint32_t *start) {
    for (int q = 0; q < tiles / 2; q++) {
        int count = 0;
        for (int left = 0; left < m->columns; left += window) count += steps_of_window(m, q, left, window);
        start[q + 1] = start[q] + (uint32_t)(count + 1) / 2 * 2;
    }
    return start[tiles / 2];
}

static int window_up(reader *r, const plain *m, matrix *t, int window) {
    t->form = WINDOWS, t->window = window;
    const size_t steps = count_windows(m, t->tiles, window, t->start);
    if (!(t->column = fp_array(r, steps, 2)) || !(t->words = fp_array(r, steps, 2 * 2 * WIDE))) return 0;
    for (int q = 0; q < t->tiles / 2; q++) {
        size_t step = t->start[q];
        for (int left = 0; left < m->columns; left += window) {
            const int count = steps_of_window(m, q, left, window);
            for (int s = 0; s < count; s++) t->column[step + s] = (uint16_t)(left / window);
            for (int k = 0; k < WIDE; k++) {
                int found[64];
                const int kept = kept_in_window(m, WIDE * q + k, left, window, found);
                const size_t source = kept ? (size_t)row_of(m->gates, m->rows, (WIDE * q + k) / ROWS, k % ROWS) : 0;
                for (int i = 0; i < kept; i++)
                    t->words[(step + i / 2) * 2 * WIDE + 2 * k + i % 2] =
                        (int16_t)(m->values[source * m->columns + found[i]] * 256 + found[i] - left);
            }
            step += count;
        }
    }
    return 1;
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

/* The form that is faster. Without vectors a step of tiles takes as long as nine single weights (x86; elsewhere a compiler
 * may make more of it, so four are taken for as long). With vectors it takes no longer than one; TIME has what a step of
 * tiles, of windows of 32 and of 64 take beside each other, for many frames and for one. */
int fp_lay_out(reader *r, const plain *m, matrix *t) {
    static const int time[3][3] = {{1, 1, 1}, {10, 30, 56}, {10, 20, 30}};
    const int *each = time[fp_best_level()];
    t->tiles = tiles_of(m->gates, m->rows), t->columns = m->columns;
    if (!(t->start = fp_array(r, (size_t)ROWS * t->tiles + 1, 4))) return 0;
    const uint64_t narrow = (uint64_t)each[1] * count_windows(m, t->tiles, 32, t->start);
    const uint64_t wide = (uint64_t)each[2] * count_windows(m, t->tiles, 64, t->start);
    const uint64_t tiles = (uint64_t)each[0] * count_tiles(m, t->tiles, t->start);
    if (fp_best_level() == FP_PORTABLE) {
        const size_t kept = count_kept(m);
        return kept < 4 * tiles ? line_up(r, m, t, kept) : tile_up(r, m, t);
    }
    if (tiles <= narrow && tiles <= wide) return tile_up(r, m, t);
    return window_up(r, m, t, narrow <= wide ? 32 : 64);
}

/* The largest sum of each row, in the order of tiles: inputs of `top` where weights are positive, -top elsewhere. */
int64_t fp_row_limit(const matrix *t, int row, int32_t top) {
    const int height = t->form == TILES ? ROWS : t->form == WINDOWS ? WIDE : 1;
    int64_t sum = 0;
    for (size_t s = t->start[row / height]; s < t->start[row / height + 1]; s++) {
        const size_t place = 2 * (s * height + row % height);
        if (t->form == SINGLE) sum += abs(t->weights[s]);
        else if (t->form == TILES) sum += abs(t->weights[place]) + abs(t->weights[place + 1]);
        else sum += abs(t->words[place] >> 8) + abs(t->words[place + 1] >> 8);
    }
    return sum * top;
}

static int64_t steps(const matrix *t) {
    return t->start[t->form == TILES ? t->tiles : t->form == WINDOWS ? t->tiles / 2 : ROWS * t->tiles];
}

int64_t fp_matrix_macs(const matrix *t) { return steps(t) * (t->form == TILES ? 2 * ROWS : t->form == WINDOWS ? 2 * WIDE : 1); }

int64_t fp_matrix_bytes(const matrix *t) {
    const int64_t starts = t->form == SINGLE ? 4 * ROWS * (int64_t)t->tiles : 0;
    return steps(t) * (t->form == TILES ? 2 + 2 * ROWS : t->form == WINDOWS ? 2 + 4 * WIDE : 3) + starts;
}

void fp_free_matrix(matrix *t) {
    free(t->start);
    free(t->column);
    free(t->weights);
    free(t->words);
}
