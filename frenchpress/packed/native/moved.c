/* Sums that are kept from frame to frame: of a product only what moved is computed, where that is little enough.
 *
 * With integers nothing is lost on the way: W x + W (y - x) are the bits of W y. */
#include <string.h>

#include "kernels.h"

typedef uint32_t unaligned __attribute__((aligned(2), may_alias));

/* ---- pairs of columns ---- */

/* How many pairs moved from `a` to `b`. `*far` becomes negative where a difference does not fit into 16 bits. */
static int count_pairs(const int16_t *a, const int16_t *b, int columns, int16_t *far) {
    const unaligned *one = (const void *)a, *other = (const void *)b;
    int count = 0;
    int16_t sign = 0;
    for (int k = 0; k < columns / 2; k++) count += one[k] != other[k];
    for (int k = 0; k < columns; k++) {
        const int16_t change = (int16_t)(b[k] - a[k]);
        sign |= (int16_t)((a[k] ^ b[k]) & (b[k] ^ change));
    }
    *far |= sign;
    return count + (columns % 2 && a[columns - 1] != b[columns - 1]);
}

static void list_pairs(const int16_t *a, const int16_t *b, int columns, moves *m) {
    const unaligned *one = (const void *)a, *other = (const void *)b;
    int count = 0;
    for (int k = 0; k < columns / 2; k++) { /* without a branch, which could not be foreseen */
        m->place[count] = (uint16_t)k;
        m->change[count] = (int32_t)((uint16_t)(b[2 * k] - a[2 * k]) | (uint32_t)(b[2 * k + 1] - a[2 * k + 1]) << 16);
        count += one[k] != other[k];
    }
    if (columns % 2) { /* the other column of the last pair has no weights */
        m->place[count] = (uint16_t)(columns / 2);
        m->change[count++] = b[columns - 1] - a[columns - 1];
    }
    m->count = count;
}

/* Whether so many pairs of `frames` frames take less time than all. Four frames share each load of a weight where all are
 * computed. By measurement with AVX2 and AVX-512. */
static int are_few(int64_t count, int pairs, int frames) { return 8 * count <= (frames < 4 ? 5 : 4) * (int64_t)pairs * frames; }

/* ---- single weights, column by column: no slower when all columns moved than row by row ---- */

static void add_columns(const matrix *w, const int16_t *x, kept *k) {
    const uint16_t *restrict row = w->column;
    const int8_t *restrict weights = w->weights;
    uint32_t *restrict sums = (uint32_t *)k->sums; /* they wrap around on their way */
    for (int c = 0; c < w->columns; c++) {
        const int32_t change = x[c] - k->x[c];
        if (!change) continue;
        for (uint32_t i = w->start[c], end = w->start[c + 1]; i < end; i++) sums[row[i]] += (uint32_t)(weights[i] * change);
        k->x[c] = x[c];
    }
}

const int32_t *fp_moved_product(const matrix *w, int32_t level, const int16_t *x, size_t stride, int frames, int32_t *out,
                                size_t out_stride, kept *k, moves *moved) {
    const size_t size = (size_t)ROWS * w->tiles * sizeof *k->sums;
    int32_t *to = frames == 1 ? k->sums : out; /* of one frame they stay where they are kept: no copy */
    if (w->form == COLUMNS) {
        for (int n = 0; n < frames; n++) {
            add_columns(w, x + n * stride, k);
            if (to == out) memcpy(to + n * out_stride, k->sums, size);
        }
        return to;
    }
    int16_t far = 0;
    int64_t count = 0;
    for (int n = 0; n < frames; n++)
        count += count_pairs(n ? x + (n - 1) * stride : k->x, x + n * stride, w->columns, &far);
    if (far >= 0 && are_few(count, fp_pairs(w), frames)) {
        for (int n = 0; n < frames; n++) list_pairs(n ? x + (n - 1) * stride : k->x, x + n * stride, w->columns, moved + n);
        fp_pairs_moved(level)(w, moved, frames, k->sums, to, out_stride);
    } else {
        fp_pairs_product(level)(w, x, stride, frames, to, out_stride, NULL);
        if (to == out) memcpy(k->sums, to + (frames - 1) * out_stride, size);
    }
    memcpy(k->x, x + (frames - 1) * stride, w->columns * sizeof *k->x);
    return to;
}
