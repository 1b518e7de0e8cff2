/* The forms in which each of sixteen rows picks its inputs out of a window of columns; and dense bytes. */
#include <stdlib.h>

#include "reader.h"

enum { WIDEST_WINDOW = 64 };

/* Columns that `row`, in the order of tiles, keeps within a window, in `found`; how many. `*source`: first weight of it. */
static int kept_in_window(const plain *m, int row, int left, int window, int *found, size_t *source) {
    const int number = row_of(m->gates, m->rows, row / ROWS, row % ROWS);
    const int right = left + window < m->columns ? left + window : m->columns;
    int count = 0;
    *source = (size_t)(number < 0 ? 0 : number) * m->columns;
    for (int column = left; number >= 0 && column < right; column++)
        if (kept_here(m, *source + column)) found[count++] = column;
    return count;
}

/* Steps that rows 16 q to 16 q + 15 need for a window: those of the row that keeps most. */
static int steps_of_window(const plain *m, int q, int left, int window, int slots) {
    int most = 0, found[WIDEST_WINDOW];
    size_t source;
    for (int k = 0; k < WIDE; k++) {
        const int count = kept_in_window(m, WIDE * q + k, left, window, found, &source);
        if (count > most) most = count;
    }
    return (most + slots - 1) / slots;
}

uint32_t fp_count_windows(const plain *m, int tiles, int window, int slots, uint32_t *start) {
    for (int q = 0; q < tiles / 2; q++) {
        int count = 0;
        for (int left = 0; left < m->columns; left += window) count += steps_of_window(m, q, left, window, slots);
        start[q + 1] = start[q] + (uint32_t)(count + 1) / 2 * 2;
    }
    return start[tiles / 2];
}

/* Weight `value` of a column of the window, at `place` of [steps][16][slots]. */
static void put(matrix *t, size_t place, int value, int column) {
    if (t->words) t->words[place] = (int16_t)(value * 256 + column);
    else t->weights[place] = (int8_t)value, t->control[place] = (uint8_t)column;
}

static void fill(const plain *m, matrix *t, int slots) {
    for (int q = 0; q < t->tiles / 2; q++) {
        size_t step = t->start[q];
        for (int left = 0; left < m->columns; left += t->window) {
            const int count = steps_of_window(m, q, left, t->window, slots);
            for (int s = 0; s < count; s++) t->column[step + s] = (uint16_t)(left / t->window);
            for (int k = 0; k < WIDE; k++) {
                int found[WIDEST_WINDOW];
                size_t source;
                const int kept = kept_in_window(m, WIDE * q + k, left, t->window, found, &source);
                for (int i = 0; i < kept; i++)
                    put(t, ((step + i / slots) * WIDE + k) * slots + i % slots, m->values[source + found[i]], found[i] - left);
            }
            step += count;
        }
    }
}

int fp_window_up(reader *r, const plain *m, matrix *t, int window) {
    t->form = WINDOWS, t->window = window;
    const size_t steps = fp_count_windows(m, t->tiles, window, 2, t->start);
    if (!(t->column = fp_array(r, steps, 2)) || !(t->words = fp_array(r, steps, 2 * 2 * WIDE))) return 0;
    fill(m, t, 2);
    return 1;
}

/* What bytes are computed with beside weights; see model.h. */
static int prove(reader *r, matrix *t) {
    if (!(t->offset = fp_array(r, (size_t)ROWS * t->tiles, 4))) return 0;
    t->narrow = 1;
    for (int q = 0; q < t->tiles / 2; q++)
        for (size_t place = (size_t)t->start[q] * 4 * WIDE; place < (size_t)t->start[q + 1] * 4 * WIDE; place += 2) {
            const int a = t->weights[place], b = t->weights[place + 1];
            t->offset[WIDE * q + place / 4 % WIDE] -= 128 * (a + b);
            if (255 * (abs(a) + abs(b)) >= 1 << 15) t->narrow = 0;
        }
    return 1;
}

int fp_pick_up(reader *r, const plain *m, matrix *t) {
    t->form = PICKED_BYTES, t->window = 64;
    const size_t steps = fp_count_windows(m, t->tiles, 64, 4, t->start);
    if (!(t->column = fp_array(r, steps, 2)) || !(t->weights = fp_array(r, steps, 4 * WIDE)) ||
        !(t->control = fp_array(r, steps, 4 * WIDE)))
        return 0;
    fill(m, t, 4);
    return prove(r, t);
}

int fp_line_bytes_up(reader *r, const plain *m, matrix *t) {
    const uint32_t each = fp_dense_steps(m->columns);
    t->form = DENSE_BYTES;
    for (int q = 0; q < t->tiles / 2; q++) t->start[q + 1] = t->start[q] + each;
    if (!(t->weights = fp_array(r, t->start[t->tiles / 2], 4 * WIDE))) return 0;
    for (int i = 0; i < ROWS * t->tiles; i++) {
        const int row = row_of(m->gates, m->rows, i / ROWS, i % ROWS);
        for (int column = 0; row >= 0 && column < m->columns; column++)
            t->weights[(((size_t)t->start[i / WIDE] + column / 4) * WIDE + i % WIDE) * 4 + column % 4] =
                m->values[(size_t)row * m->columns + column];
    }
    return prove(r, t);
}
