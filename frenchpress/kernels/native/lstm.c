/* Masked products and the LSTM recurrence, forward and backward, on tiles of kept weights.
 *
 * A weight matrix is a list of tiles: tile p holds the rows rows[8p..8p+7] (for an LSTM two cells times four gates; -1:
 * no row), and of the columns only those that any of the eight rows keeps: column cols[j], values values[8j..8j+7], for j
 * in start[p]..start[p+1]-1. A dense matrix is the case in which every tile keeps every column. Structured sparsity whose
 * gates share one mask makes the eight lists equal, so nothing is computed in vain.
 */
#include "common.h"

#define ROWS 8

typedef struct {
    int32_t tiles;          /* number of tiles */
    int32_t out, in;        /* rows and columns of the matrix */
    const int32_t *rows;    /* [tiles][8] */
    const int32_t *start;   /* [tiles + 1] */
    const int32_t *cols;    /* [start[tiles]] */
    const float *values;    /* [start[tiles]][8] */
} matrix;

/* First tile of `thread`: tiles are split so that each thread gets about the same number of kept weights. */
static int first_tile(const matrix *m, int thread, int threads) {
    int64_t wanted = (int64_t)m->start[m->tiles] * thread / threads;
    if (thread == threads) return m->tiles;
    int low = 0, high = m->tiles;
    while (low < high) {
        int mid = (low + high) / 2;
        if (m->start[mid] < wanted) low = mid + 1; else high = mid;
    }
    return low;
}

/* ---- out[n] = W x[n] ---- */

typedef struct { matrix m; int64_t frames; const float *x; float *out; } apply_job;

/* Four rows of a tile and three frames are twelve sums: with three inputs and a weight, the sixteen registers of AVX2. */
enum { HALF = ROWS / 2, WIDE = 3 };

/* The sums of `frames` frames (a constant, at most WIDE) for the rows half .. half + HALF - 1 of tile p. */
INLINE void apply_half(const matrix *m, int p, int half, int frames, const float *x, float *y) {
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int32_t *rows = m->rows + ROWS * p + half;
    vec s[WIDE][HALF];
    for (int n = 0; n < frames; n++)
        for (int r = 0; r < HALF; r++) s[n][r] = splat(0.0f);
    for (int32_t j = m->start[p]; j < m->start[p + 1]; j++) {
        const float *w = m->values + (int64_t)ROWS * j + half, *column = x + (int64_t)LANES * m->cols[j];
        vec v[WIDE];
        for (int n = 0; n < frames; n++) v[n] = load(column + n * in);
        for (int r = 0; r < HALF; r++)
            for (int n = 0; n < frames; n++) s[n][r] += v[n] * w[r];
    }
    for (int r = 0; r < HALF; r++)
        if (rows[r] >= 0)
            for (int n = 0; n < frames; n++) store(y + n * out + LANES * rows[r], s[n][r]);
}

MULTIVERSION static void apply_work(const void *arg, int thread, int threads) {
    const apply_job *a = arg;
    const matrix *m = &a->m;
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int begin = first_tile(m, thread, threads), end = first_tile(m, thread + 1, threads);
    const int64_t chunk = 6 * WIDE; /* frames whose inputs stay in the second-level cache while all tiles pass over them */
    for (int64_t n0 = 0; n0 < a->frames; n0 += chunk) {
        const int64_t n1 = n0 + chunk < a->frames ? n0 + chunk : a->frames;
        for (int p = begin; p < end; p++)
            for (int half = 0; half < ROWS; half += HALF) {
                int64_t n = n0;
                for (; n + WIDE <= n1; n += WIDE) apply_half(m, p, half, WIDE, a->x + n * in, a->out + n * out);
                for (; n < n1; n++) apply_half(m, p, half, 1, a->x + n * in, a->out + n * out);
            }
    }
}

/* ---- dx[n] = W' dy[n]; threads take frames, so no two of them write one place ---- */

/* What HALF rows of tile p, from `half` on, add to dx of `frames` frames (a constant, at most WIDE). */
INLINE void transposed_half(const matrix *m, int p, int half, int frames, const float *dy, float *dx) {
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int32_t *rows = m->rows + ROWS * p + half;
    vec d[WIDE][HALF];
    for (int n = 0; n < frames; n++)
        for (int r = 0; r < HALF; r++) d[n][r] = rows[r] >= 0 ? load(dy + n * out + LANES * rows[r]) : splat(0.0f);
    for (int32_t j = m->start[p]; j < m->start[p + 1]; j++) {
        const float *w = m->values + (int64_t)ROWS * j + half;
        float *column = dx + (int64_t)LANES * m->cols[j];
        vec s[WIDE];
        for (int n = 0; n < frames; n++) s[n] = load(column + n * in);
        for (int r = 0; r < HALF; r++)
            for (int n = 0; n < frames; n++) s[n] += d[n][r] * w[r];
        for (int n = 0; n < frames; n++) store(column + n * in, s[n]);
    }
}

MULTIVERSION static void apply_transposed_work(const void *arg, int thread, int threads) {
    const apply_job *a = arg;  /* x is dy [frames][out][8], out is dx [frames][in][8] */
    const matrix *m = &a->m;
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int64_t begin = a->frames * thread / threads, end = a->frames * (thread + 1) / threads;
    memset(a->out + begin * in, 0, sizeof(float) * (end - begin) * in);
    for (int64_t n0 = begin; n0 < end; n0 += 2 * WIDE) {
        const int64_t n1 = n0 + 2 * WIDE < end ? n0 + 2 * WIDE : end;
        for (int p = 0; p < m->tiles; p++)
            for (int half = 0; half < ROWS; half += HALF) {
                int64_t n = n0;
                for (; n + WIDE <= n1; n += WIDE) transposed_half(m, p, half, WIDE, a->x + n * out, a->out + n * in);
                for (; n < n1; n++) transposed_half(m, p, half, 1, a->x + n * out, a->out + n * in);
            }
    }
}

/* ---- dW = sum over n of dy[n] x[n]', kept places only ---- */

enum { CHUNK = 32 }; /* frames whose gradients of one tile stay in the first-level cache */

/* `columns`: [threads][in][CHUNK][8], or NULL when the columns are to be read where they lie. */
typedef struct { matrix m; int64_t frames; const float *x, *dy; float *dvalues, *columns; } gradient_job;

INLINE void gradient_half(const matrix *m, int32_t j, int columns, int count, const float *x, int64_t column,
                          int64_t frame, const float *d, float *g) {
    const float *at[WIDE];
    vec s[WIDE][HALF];
    for (int c = 0; c < columns; c++) {
        at[c] = x + column * m->cols[j + c];
        for (int r = 0; r < HALF; r++) s[c][r] = splat(0.0f);
    }
    for (int n = 0; n < count; n++) {
        vec v[WIDE];
        for (int c = 0; c < columns; c++) v[c] = load(at[c] + n * frame);
        for (int r = 0; r < HALF; r++) {
            const vec e = load(d + (n * ROWS + r) * LANES);
            for (int c = 0; c < columns; c++) s[c][r] += e * v[c];
        }
    }
    for (int c = 0; c < columns; c++) add_sums(g + ROWS * (int64_t)(j + c), s[c]);
}

MULTIVERSION static void gradient_work(const void *arg, int thread, int threads) {
    const gradient_job *a = arg;
    const matrix *m = &a->m;
    const int64_t in = (int64_t)m->in * LANES, out = (int64_t)m->out * LANES;
    const int begin = first_tile(m, thread, threads), end = first_tile(m, thread + 1, threads);
    float *columns = a->columns ? a->columns + CHUNK * in * thread : NULL;
    const int64_t frame = columns ? LANES : in, column = columns ? CHUNK * LANES : LANES;
    float d[CHUNK][ROWS][LANES];
    memset(a->dvalues + (int64_t)ROWS * m->start[begin], 0,
           sizeof(float) * ROWS * (m->start[end] - m->start[begin]));
    for (int64_t n0 = 0; n0 < a->frames; n0 += CHUNK) {
        const int count = n0 + CHUNK < a->frames ? CHUNK : (int)(a->frames - n0);
        const float *x = a->x + n0 * in;
        if (columns) {
            for (int n = 0; n < count; n++)
                for (int64_t k = 0; k < m->in; k++) store(columns + k * column + n * frame, load(x + n * in + k * LANES));
            x = columns;
        }
        for (int p = begin; p < end; p++) {
            const int32_t *rows = m->rows + ROWS * p;
            for (int n = 0; n < count; n++)
                for (int r = 0; r < ROWS; r++)
                    store(d[n][r], rows[r] >= 0 ? load(a->dy + (n0 + n) * out + LANES * rows[r]) : splat(0.0f));
            for (int half = 0; half < ROWS; half += HALF) {
                const float *dy = d[0][half];
                float *g = a->dvalues + half;
                int32_t j = m->start[p];
                for (; j + WIDE <= m->start[p + 1]; j += WIDE)
                    gradient_half(m, j, WIDE, count, x, column, frame, dy, g);
                for (; j < m->start[p + 1]; j++) gradient_half(m, j, 1, count, x, column, frame, dy, g);
            }
        }
    }
}

/* ---- the recurrence ---- */

/* Recurrent weights 4 cells x cells, gates in the order of rows: i, f, g, o; tile p is cells 2p and 2p + 1, its rows
 * i(2p) i(2p+1) f(2p) ... o(2p+1). */
typedef struct { matrix m; forward_pass pass; } forward_job;

MULTIVERSION static void forward_work(const void *arg, int thread, int threads) {
    const matrix *m = &((const forward_job *)arg)->m;
    const forward_pass *a = &((const forward_job *)arg)->pass;
    const int begin = first_tile(m, thread, threads), end = first_tile(m, thread + 1, threads);
    for (int64_t t = 0; t < a->steps; t++) {
        for (int p = begin; p < end; p++) {
            for (int g = 0; g < a->groups; g++) {
                const int32_t *rows = m->rows + ROWS * p;
                vec s[ROWS];
                for (int r = 0; r < ROWS; r++) s[r] = shifted(a, t, g, rows[r]);
                if (t > 0) {
                    const float *before = a->out + place_of(t - 1, a->groups, g, a->cells);
                    for (int32_t j = m->start[p]; j < m->start[p + 1]; j++) {
                        const float *w = m->values + (int64_t)ROWS * j;
                        const vec v = load(before + (int64_t)LANES * m->cols[j]);
                        for (int r = 0; r < ROWS; r++) s[r] += v * w[r];
                    }
                }
                vec sums[2][GATES];
                for (int q = 0; q < 2; q++)
                    for (int gate = 0; gate < GATES; gate++) sums[q][gate] = s[2 * gate + q];
                cells_forward(a, t, g, rows[0], 2, sums); /* an even number of cells: no tile lacks one */
            }
        }
        barrier_wait(a->sync);
    }
}

typedef struct { matrix m; backward_pass pass; float *scratch; /* [threads][2][groups][cells][8] */ } backward_job;

MULTIVERSION static void backward_work(const void *arg, int thread, int threads) {
    const backward_job *job = arg;
    const matrix *m = &job->m;
    const backward_pass *a = &job->pass;
    const int64_t width = (int64_t)a->cells * LANES, all = width * a->groups;
    const int begin = first_tile(m, thread, threads), end = first_tile(m, thread + 1, threads);
    for (int64_t t = a->steps - 1; t >= 0; t--) {
        /* Each thread adds what its rows send back to step t - 1 into its own buffer; the owner of a cell sums the
         * buffers in thread order. Two buffers a thread: one read while the other fills, hence one barrier a step. */
        float *mine = job->scratch + (2 * thread + (t & 1)) * all;
        memset(mine, 0, sizeof(float) * all);
        for (int p = begin; p < end; p++) {
            for (int g = 0; g < a->groups; g++) {
                const int32_t *rows = m->rows + ROWS * p;
                vec d[ROWS];
                for (int q = 0; q < 2; q++) {
                    vec back = splat(0.0f), four[4] = {back, back, back, back};
                    if (rows[q] >= 0) {
                        if (t < a->steps - 1)
                            for (int k = 0; k < threads; k++)
                                back += load(job->scratch + (2 * k + ((t + 1) & 1)) * all + g * width
                                             + (int64_t)LANES * rows[q]);
                        cell_backward(a, t, g, rows[q], back, four);
                    }
                    for (int gate = 0; gate < 4; gate++) d[2 * gate + q] = four[gate];
                }
                if (t == 0) continue;
                float *to = mine + g * width;
                for (int32_t j = m->start[p]; j < m->start[p + 1]; j++) {
                    const float *w = m->values + (int64_t)ROWS * j;
                    float *at = to + (int64_t)LANES * m->cols[j];
                    vec even = d[0] * w[0], odd = d[1] * w[1];
                    for (int r = 2; r < ROWS; r += 2) { even += d[r] * w[r]; odd += d[r + 1] * w[r + 1]; }
                    store(at, load(at) + (even + odd));
                }
            }
        }
        barrier_wait(a->sync);
    }
}

/* ---- the interface: plain pointers, 0 on success, -1 when memory or the number of threads does not allow ---- */

int fp_apply(const matrix *m, int64_t frames, const float *x, float *out, int threads) {
    apply_job job = {*m, frames, x, out};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(apply_work, &job, threads);
}

int fp_apply_transposed(const matrix *m, int64_t frames, const float *dy, float *dx, int threads) {
    apply_job job = {*m, frames, dy, dx};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(apply_transposed_work, &job, threads);
}

int fp_gradient(const matrix *m, int64_t frames, const float *x, const float *dy, float *dvalues, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    /* Where most columns are read by many tiles, they are first laid out so that a tile reads them in one run. */
    const int reread = m->start[m->tiles] > (int64_t)8 * threads * m->in;
    float *columns = reread ? malloc(sizeof(float) * threads * m->in * CHUNK * LANES) : NULL;
    if (reread && !columns) return -1;
    gradient_job job = {*m, frames, x, dy, dvalues, columns};
    int status = run_parallel(gradient_work, &job, threads);
    free(columns);
    return status;
}

int fp_lstm_forward(const matrix *m, int64_t steps, int groups, int cells, const float *pre, const float *gain,
                    const float *bias, float *gates, float *cell, float *tanh_cell, float *out, float step,
                    float low, float high, float margin, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    barrier sync = {0, 0, threads};
    forward_job job = {*m, {steps, groups, cells, pre, gain, bias, gates, cell, out, tanh_cell, step, low, high, margin,
                            &sync}};
    return run_parallel(forward_work, &job, threads);
}

int fp_lstm_backward(const matrix *m, int64_t steps, int groups, int cells, const float *gates, const float *cell,
                     const float *tanh_cell, const float *dout, float *dgates, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    const size_t all = (size_t)groups * cells * LANES;
    float *memory = calloc(all * (1 + 2 * threads), sizeof(float));
    if (!memory) return -1;
    barrier sync = {0, 0, threads};
    backward_job job = {*m, {steps, groups, cells, gates, cell, tanh_cell, dout, dgates, memory, &sync}, memory + all};
    int status = run_parallel(backward_work, &job, threads);
    free(memory);
    return status;
}
