/* Products and the LSTM recurrence with single kept weights: one multiply-add each, over eight sequences.
 *
 * A matrix is a list of rows: row r keeps the columns cols[j] with values[j], for j in start[r]..start[r+1]-1. Its
 * transposed is another such list. Columns are read at random, so the frames of a few time steps are first laid out
 * such that a column's values lie in one run: [column][frames][8].
 */
#include "common.h"

typedef struct {
    int32_t out, in;        /* rows and columns of the matrix */
    const int32_t *start;   /* [out + 1] */
    const int32_t *cols;    /* [start[out]] */
    const float *values;    /* [start[out]] */
} singles;

/* First of `units` units of `thread` where unit u costs `fixed` and one for each kept weight of the rows u + k * units. */
static int first_unit(const singles *m, int units, int fixed, int thread, int threads) {
    const int64_t all = (int64_t)units * fixed + m->start[m->out];
    int64_t done = 0;
    for (int u = 0; u < units; u++) {
        if (done * threads >= all * thread) return u;
        done += fixed;
        for (int r = u; r < m->out; r += units) done += m->start[r + 1] - m->start[r];
    }
    return units;
}

/* Lay `count` frames of x [frames][in][8] out as [in][frames][8], with room for as many as `frames`. */
INLINE void lay_out(const float *x, int64_t in, int count, int frames, float *to) {
    for (int n = 0; n < count; n++)
        for (int64_t k = 0; k < in; k++) store(to + (k * frames + n) * LANES, load(x + (n * in + k) * LANES));
}

/* ---- out[n] = W x[n]; threads take frames ---- */

enum { AT_ONCE = 8, ROWS_AT_ONCE = 8, CACHED_COLUMNS = 1024 };

/* `columns`: [threads][in][AT_ONCE][8]. */
typedef struct { singles m; int64_t frames; const float *x; float *out, *columns; } apply_job;

/* `frames` frames (a constant, at most AT_ONCE) of all rows, from columns laid out; `count` of them are written. */
INLINE void apply_frames(const singles *m, int frames, int count, const float *columns, float *y) {
    const int64_t out = (int64_t)m->out * LANES;
    float sums[AT_ONCE][ROWS_AT_ONCE][LANES]; /* written to y in whole cache lines */
    for (int r0 = 0; r0 < m->out; r0 += ROWS_AT_ONCE) {
        const int rows = r0 + ROWS_AT_ONCE < m->out ? ROWS_AT_ONCE : m->out - r0;
        for (int r = 0; r < rows; r++) {
            vec s[AT_ONCE];
            for (int n = 0; n < frames; n++) s[n] = splat(0.0f);
            for (int32_t j = m->start[r0 + r]; j < m->start[r0 + r + 1]; j++) {
                const float *v = columns + (int64_t)frames * LANES * m->cols[j], w = m->values[j];
                for (int n = 0; n < frames; n++) s[n] += load(v + LANES * n) * w;
            }
            for (int n = 0; n < frames; n++) store(sums[n][r], s[n]);
        }
        for (int n = 0; n < count; n++)
            memcpy(y + n * out + (int64_t)LANES * r0, sums[n], sizeof(float) * LANES * rows);
    }
}

MULTIVERSION static void apply_work(const void *arg, int thread, int threads) {
    const apply_job *a = arg;
    const singles *m = &a->m;
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int64_t begin = a->frames * thread / threads, end = a->frames * (thread + 1) / threads;
    float *columns = a->columns + AT_ONCE * in * thread;
    /* What is laid out should stay in the second-level cache. */
    const int frames = m->in <= CACHED_COLUMNS ? AT_ONCE : AT_ONCE / 2;
    for (int64_t n = begin; n < end; n += frames) {
        const int count = n + frames < end ? frames : (int)(end - n);
        lay_out(a->x + n * in, m->in, count, frames, columns);
        if (frames == AT_ONCE) apply_frames(m, AT_ONCE, count, columns, a->out + n * out);
        else apply_frames(m, AT_ONCE / 2, count, columns, a->out + n * out);
    }
}

/* ---- dW = sum over n of dy[n] x[n]', kept places only; threads take rows ---- */

enum { CHUNK = 16, FOUR = 4 };

/* `columns`: [threads][in][CHUNK][8]. */
typedef struct { singles m; int64_t frames; const float *x, *dy; float *dvalues, *columns; } gradient_job;

/* Gradients of `kept` weights (a constant, at most 8) of one row, whose dy over `count` frames is d. */
INLINE void gradient_kept(const int32_t *cols, int kept, int count, const float *columns, const float *d, float *g) {
    const float *at[2 * FOUR];
    vec s[2 * FOUR];
    for (int c = 0; c < kept; c++) {
        at[c] = columns + (int64_t)CHUNK * LANES * cols[c];
        s[c] = splat(0.0f);
    }
    for (int n = 0; n < count; n++) {
        const vec e = load(d + LANES * n);
        for (int c = 0; c < kept; c++) s[c] += e * load(at[c] + LANES * n);
    }
    if (kept < FOUR)
        for (int c = 0; c < kept; c++) g[c] += sum(s[c]);
    else
        for (int c = 0; c < kept; c += FOUR) add_sums(g + c, s + c);
}

MULTIVERSION static void gradient_work(const void *arg, int thread, int threads) {
    const gradient_job *a = arg;
    const singles *m = &a->m;
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int begin = first_unit(m, m->out, 0, thread, threads), end = first_unit(m, m->out, 0, thread + 1, threads);
    float *columns = a->columns + CHUNK * in * thread;
    float d[ROWS_AT_ONCE][CHUNK][LANES];
    memset(a->dvalues + m->start[begin], 0, sizeof(float) * (m->start[end] - m->start[begin]));
    for (int64_t n0 = 0; n0 < a->frames; n0 += CHUNK) {
        const int count = n0 + CHUNK < a->frames ? CHUNK : (int)(a->frames - n0);
        lay_out(a->x + n0 * in, m->in, count, CHUNK, columns);
        for (int r0 = begin; r0 < end; r0 += ROWS_AT_ONCE) {
            const int rows = r0 + ROWS_AT_ONCE < end ? ROWS_AT_ONCE : end - r0;
            for (int n = 0; n < count; n++)
                for (int r = 0; r < rows; r++)
                    store(d[r][n], load(a->dy + (n0 + n) * out + (int64_t)LANES * (r0 + r)));
            for (int r = 0; r < rows; r++) {
                int32_t j = m->start[r0 + r];
                const int32_t last = m->start[r0 + r + 1];
                for (; j + 2 * FOUR <= last; j += 2 * FOUR)
                    gradient_kept(m->cols + j, 2 * FOUR, count, columns, d[r][0], a->dvalues + j);
                for (; j + FOUR <= last; j += FOUR)
                    gradient_kept(m->cols + j, FOUR, count, columns, d[r][0], a->dvalues + j);
                for (; j < last; j++) gradient_kept(m->cols + j, 1, count, columns, d[r][0], a->dvalues + j);
            }
        }
    }
}

/* ---- the recurrence; threads take cells ---- */

/* What a cell costs beside its kept weights, in multiply-adds. */
enum { CELL_COST = 100 };

/* Sum of row r over x [in][8]. */
INLINE vec row_sum(const singles *m, int r, const float *x) {
    vec s[FOUR];
    for (int k = 0; k < FOUR; k++) s[k] = splat(0.0f);
    int32_t j = m->start[r];
    const int32_t last = m->start[r + 1];
    for (; j + FOUR <= last; j += FOUR)
        for (int k = 0; k < FOUR; k++) s[k] += load(x + (int64_t)LANES * m->cols[j + k]) * m->values[j + k];
    for (; j < last; j++) s[0] += load(x + (int64_t)LANES * m->cols[j]) * m->values[j];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

typedef struct { singles m; forward_pass pass; } forward_job;

/* Cells c .. c + count - 1 (a constant) of group g at step t. */
INLINE void forward_cells(const singles *m, const forward_pass *a, int64_t t, int g, int c, int count) {
    vec s[TOGETHER][GATES];
    const float *before = a->out + place_of(t - 1, a->groups, g, a->cells);
    for (int k = 0; k < count; k++)
        for (int gate = 0; gate < GATES; gate++) {
            const int row = gate * a->cells + c + k;
            s[k][gate] = shifted(a, t, g, row);
            if (t > 0) s[k][gate] += row_sum(m, row, before);
        }
    cells_forward(a, t, g, c, count, s);
}

/* Weights 4 cells x cells, the gates i, f, g, o by rows. */
MULTIVERSION static void forward_work(const void *arg, int thread, int threads) {
    const singles *m = &((const forward_job *)arg)->m;
    const forward_pass *a = &((const forward_job *)arg)->pass;
    const int begin = first_unit(m, a->cells, CELL_COST, thread, threads);
    const int end = first_unit(m, a->cells, CELL_COST, thread + 1, threads);
    for (int64_t t = 0; t < a->steps; t++) {
        for (int g = 0; g < a->groups; g++) {
            int c = begin;
            for (; c + TOGETHER <= end; c += TOGETHER) forward_cells(m, a, t, g, c, TOGETHER);
            for (; c < end; c++) forward_cells(m, a, t, g, c, 1);
        }
        barrier_wait(a->sync);
    }
}

/* `m` is the transposed matrix, cells x 4 cells: what a cell sent forward it gathers back. */
typedef struct { singles m; backward_pass pass; } backward_job;

MULTIVERSION static void backward_work(const void *arg, int thread, int threads) {
    const singles *m = &((const backward_job *)arg)->m;
    const backward_pass *a = &((const backward_job *)arg)->pass;
    const int begin = first_unit(m, a->cells, CELL_COST, thread, threads);
    const int end = first_unit(m, a->cells, CELL_COST, thread + 1, threads);
    for (int64_t t = a->steps - 1; t >= 0; t--) {
        for (int g = 0; g < a->groups; g++) {
            const float *later = a->dgates + place_of(t + 1, a->groups, g, 4 * (int64_t)a->cells);
            for (int c = begin; c < end; c++) {
                vec d[GATES];
                cell_backward(a, t, g, c, t < a->steps - 1 ? row_sum(m, c, later) : splat(0.0f), d);
            }
        }
        barrier_wait(a->sync);
    }
}

/* ---- the interface: plain pointers, 0 on success, -1 when memory or the number of threads does not allow ---- */

int fp_singles_apply(const singles *m, int64_t frames, const float *x, float *out, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    float *columns = malloc(sizeof(float) * threads * m->in * AT_ONCE * LANES);
    if (!columns) return -1;
    apply_job job = {*m, frames, x, out, columns};
    int status = run_parallel(apply_work, &job, threads);
    free(columns);
    return status;
}

int fp_singles_gradient(const singles *m, int64_t frames, const float *x, const float *dy, float *dvalues,
                        int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    float *columns = malloc(sizeof(float) * threads * m->in * CHUNK * LANES);
    if (!columns) return -1;
    gradient_job job = {*m, frames, x, dy, dvalues, columns};
    int status = run_parallel(gradient_work, &job, threads);
    free(columns);
    return status;
}

int fp_singles_lstm_forward(const singles *m, int64_t steps, int groups, int cells, const float *pre,
                            const float *gain, const float *bias, float *gates, float *cell, float *tanh_cell,
                            float *out, float step, float low, float high, float margin, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    barrier sync = {0, 0, threads};
    forward_job job = {*m, {steps, groups, cells, pre, gain, bias, gates, cell, out, tanh_cell, step, low, high, margin,
                            &sync}};
    return run_parallel(forward_work, &job, threads);
}

int fp_singles_lstm_backward(const singles *turned, int64_t steps, int groups, int cells, const float *gates,
                             const float *cell, const float *tanh_cell, const float *dout, float *dgates,
                             int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    float *dcell = calloc((size_t)groups * cells * LANES, sizeof(float));
    if (!dcell) return -1;
    barrier sync = {0, 0, threads};
    backward_job job = {*turned, {steps, groups, cells, gates, cell, tanh_cell, dout, dgates, dcell, &sync}};
    int status = run_parallel(backward_work, &job, threads);
    free(dcell);
    return status;
}
