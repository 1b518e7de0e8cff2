/* Masked products and the LSTM recurrence, forward and backward, on tiles of kept weights; RMSprop.
 *
 * Data layout: eight sequences lie side by side in one vector, so a tensor is [n][feature][8] where n counts frames
 * (for more than eight sequences, n runs over groups of eight within a frame). A weight matrix is a list of tiles:
 * tile p holds the rows rows[8p..8p+7] (for an LSTM two cells times four gates; -1: no row), and of the columns only
 * those that any of the eight rows keeps: column cols[j], values values[8j..8j+7], for j in start[p]..start[p+1]-1. A dense
 * matrix is the case in which every tile keeps every column. Structured sparsity whose gates share one mask makes the
 * eight lists equal, so nothing is computed in vain.
 *
 * Work is split between threads by tiles, the same way for the same number of threads, and no sum depends on timing:
 * results repeat to the bit for a given number of threads.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define ROWS 8
#define MAX_THREADS 64

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef float half_vec __attribute__((vector_size(2 * LANES), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define MULTIVERSION
#endif
#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif

typedef struct {
    int32_t tiles;          /* number of tiles */
    int32_t out, in;        /* rows and columns of the matrix */
    const int32_t *rows;    /* [tiles][8] */
    const int32_t *start;   /* [tiles + 1] */
    const int32_t *cols;    /* [start[tiles]] */
    const float *values;    /* [start[tiles]][8] */
} matrix;

/* ---- threads: started for one call, joined at its end; a barrier that yields when the machine is crowded ---- */

typedef struct { atomic_int arrived, round; int count; } barrier;

static void barrier_wait(barrier *b) {
    if (b->count == 1) return;
    int round = atomic_load_explicit(&b->round, memory_order_acquire);
    if (atomic_fetch_add_explicit(&b->arrived, 1, memory_order_acq_rel) == b->count - 1) {
        atomic_store_explicit(&b->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&b->round, round + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&b->round, memory_order_acquire) == round; spins++)
        if (spins > 2000) sched_yield();
}

typedef void (*worker)(const void *job, int thread, int threads);
typedef struct { worker work; const void *job; int thread, threads; } start_info;

static void *thread_main(void *arg) {
    start_info *s = arg;
    s->work(s->job, s->thread, s->threads);
    return NULL;
}

/* Run `work` as threads 0..threads-1. The caller is thread 0; -1 when a thread could not be started. */
static int run_parallel(worker work, const void *job, int threads) {
    pthread_t handles[MAX_THREADS];
    start_info info[MAX_THREADS];
    for (int i = 1; i < threads; i++) {
        info[i] = (start_info){work, job, i, threads};
        if (pthread_create(&handles[i], NULL, thread_main, &info[i])) abort();
    }
    work(job, 0, threads);
    for (int i = 1; i < threads; i++) pthread_join(handles[i], NULL);
    return 0;
}

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

/* ---- vectors ---- */

INLINE vec load(const float *p) { return *(const vec *)p; }
INLINE void store(float *p, vec v) { *(vec *)p = v; }
INLINE vec splat(float x) { return (vec){x, x, x, x, x, x, x, x}; }
INLINE vec choose(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }
/* The bound second: a NaN in `a` compares false and passes through, so that a diverged training shows. */
INLINE vec vmin(vec a, vec bound) { return choose(bound < a, bound, a); }
INLINE vec vmax(vec a, vec bound) { return choose(bound > a, bound, a); }
/* Adding 1.5 * 2^23 leaves no bits for a fraction: rounds to nearest, ties to even, for |x| < 2^22. */
INLINE vec vround(vec x) { return (x + 12582912.0f) - 12582912.0f; }

/* exp on [-87, 88]: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor to r^7 / 7!, about 1 ulp. */
INLINE vec vexp(vec x) {
    x = vmin(vmax(x, splat(-87.0f)), splat(88.0f));
    vec n = vround(x * 1.44269504f);
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = splat(1.98412698e-4f);
    p = p * r + 1.38888889e-3f;
    p = p * r + 8.33333333e-3f;
    p = p * r + 4.16666667e-2f;
    p = p * r + 1.66666667e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    ivec exponent = (__builtin_convertvector(n, ivec) + 127) << 23;
    vec scale;
    memcpy(&scale, &exponent, sizeof scale);
    return p * scale;
}

INLINE vec vsigmoid(vec x) { return 1.0f / (1.0f + vexp(-x)); }
INLINE vec vtanh(vec x) { return 2.0f / (1.0f + vexp(-2.0f * x)) - 1.0f; }

INLINE float sum(vec v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }

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

/* Adds the sum of each of HALF vectors to as many places. */
INLINE void add_sums(float *places, const vec *v) {
    const vec first = SHUFFLE(v[0], v[1], 0, 8, 2, 10, 4, 12, 6, 14) + SHUFFLE(v[0], v[1], 1, 9, 3, 11, 5, 13, 7, 15);
    const vec second = SHUFFLE(v[2], v[3], 0, 8, 2, 10, 4, 12, 6, 14) + SHUFFLE(v[2], v[3], 1, 9, 3, 11, 5, 13, 7, 15);
    const vec fours = SHUFFLE(first, second, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(first, second, 2, 3, 10, 11, 6, 7, 14, 15);
    half_vec halves[2];
    memcpy(halves, &fours, sizeof halves);
    *(half_vec *)places += halves[0] + halves[1];
}

/* Gradients of HALF rows and `columns` columns (a constant, at most WIDE), from j on, over `count` frames. */
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

typedef struct {
    matrix m;           /* recurrent weights, 4 cells x cells, gates in the order of rows: i, f, g, o; tile p is */
    int64_t steps;      /* cells 2p and 2p + 1, its rows i(2p) i(2p+1) f(2p) ... o(2p+1) */
    int32_t groups;     /* groups of eight sequences */
    int32_t cells;
    const float *pre;   /* [steps][groups][4 cells][8] input projections, not yet normalised */
    const float *gain, *bias; /* [4 cells] applied to them: batch norm, or 1 and the bias */
    float *gates;       /* [steps][groups][4 cells][8] gate values i f g o */
    float *cell;        /* [steps][groups][cells][8] cell state */
    float *out;         /* [steps][groups][cells][8] output, as the next step and the next layer see it */
    float *tanh_cell;   /* [steps][groups][cells][8] */
    float step, low, high; /* output rounded to a multiple of step within [low, high] steps; step 0: float */
    barrier *sync;
} forward_job;

MULTIVERSION static void forward_work(const void *arg, int thread, int threads) {
    const forward_job *a = arg;
    const matrix *m = &a->m;
    const int64_t width = (int64_t)a->cells * LANES, all = width * a->groups;
    const int begin = first_tile(m, thread, threads), end = first_tile(m, thread + 1, threads);
    for (int64_t t = 0; t < a->steps; t++) {
        for (int p = begin; p < end; p++) {
            for (int g = 0; g < a->groups; g++) {
                float *gates = a->gates + 4 * (t * all + g * width);
                const float *pre = a->pre + 4 * (t * all + g * width);
                const float *before = a->out + (t - 1) * all + g * width;
                const int32_t *rows = m->rows + ROWS * p;
                vec s[ROWS];
                for (int r = 0; r < ROWS; r++)
                    s[r] = rows[r] < 0 ? splat(0.0f)
                                       : load(pre + LANES * rows[r]) * a->gain[rows[r]] + a->bias[rows[r]];
                if (t > 0)
                    for (int32_t j = m->start[p]; j < m->start[p + 1]; j++) {
                        const float *w = m->values + (int64_t)ROWS * j;
                        const vec v = load(before + (int64_t)LANES * m->cols[j]);
                        for (int r = 0; r < ROWS; r++) s[r] += v * w[r];
                    }
                for (int q = 0; q < 2; q++) {
                    if (rows[q] < 0) continue;
                    const int64_t place = t * all + g * width + (int64_t)LANES * rows[q];
                    const vec i = vsigmoid(s[q]), f = vsigmoid(s[2 + q]), z = vtanh(s[4 + q]), o = vsigmoid(s[6 + q]);
                    const vec last = t > 0 ? load(a->cell + place - all) : splat(0.0f);
                    const vec c = f * last + i * z, tc = vtanh(c);
                    vec h = o * tc;
                    if (a->step > 0) h = vmin(vmax(vround(h / a->step), splat(a->low)), splat(a->high)) * a->step;
                    store(gates + LANES * rows[q], i);
                    store(gates + LANES * rows[2 + q], f);
                    store(gates + LANES * rows[4 + q], z);
                    store(gates + LANES * rows[6 + q], o);
                    store(a->cell + place, c);
                    store(a->tanh_cell + place, tc);
                    store(a->out + place, h);
                }
            }
        }
        barrier_wait(a->sync);
    }
}

typedef struct {
    matrix m;
    int64_t steps;
    int32_t groups, cells;
    const float *gates, *cell, *tanh_cell; /* as the forward pass left them */
    const float *dout;  /* [steps][groups][cells][8] */
    float *dgates;      /* [steps][groups][4 cells][8] gradient of the input projections; may be `gates` itself */
    float *dcell;       /* [groups][cells][8] zeroed */
    float *scratch;     /* [threads][2][groups][cells][8] */
    barrier *sync;
} backward_job;

MULTIVERSION static void backward_work(const void *arg, int thread, int threads) {
    const backward_job *a = arg;
    const matrix *m = &a->m;
    const int64_t width = (int64_t)a->cells * LANES, all = width * a->groups;
    const int begin = first_tile(m, thread, threads), end = first_tile(m, thread + 1, threads);
    for (int64_t t = a->steps - 1; t >= 0; t--) {
        /* Each thread adds what its rows send back to step t - 1 into its own buffer; the owner of a cell sums the
         * buffers in thread order. Two buffers a thread: one read while the other fills, hence one barrier a step. */
        float *mine = a->scratch + (2 * thread + (t & 1)) * all;
        memset(mine, 0, sizeof(float) * all);
        for (int p = begin; p < end; p++) {
            for (int g = 0; g < a->groups; g++) {
                const int32_t *rows = m->rows + ROWS * p;
                const float *gates = a->gates + 4 * (t * all + g * width);
                float *dgates = a->dgates + 4 * (t * all + g * width);
                vec d[ROWS];
                for (int q = 0; q < 2; q++) {
                    if (rows[q] < 0) { for (int r = q; r < ROWS; r += 2) d[r] = splat(0.0f); continue; }
                    const int64_t inner = g * width + (int64_t)LANES * rows[q], place = t * all + inner;
                    vec dh = load(a->dout + place);
                    if (t < a->steps - 1)
                        for (int k = 0; k < threads; k++)
                            dh += load(a->scratch + (2 * k + ((t + 1) & 1)) * all + inner);
                    const vec i = load(gates + LANES * rows[q]), f = load(gates + LANES * rows[2 + q]);
                    const vec z = load(gates + LANES * rows[4 + q]), o = load(gates + LANES * rows[6 + q]);
                    const vec tc = load(a->tanh_cell + place);
                    const vec last = t > 0 ? load(a->cell + place - all) : splat(0.0f);
                    const vec dc = load(a->dcell + inner) + dh * o * (1.0f - tc * tc);
                    store(a->dcell + inner, dc * f);
                    d[q] = dc * z * i * (1.0f - i);
                    d[2 + q] = dc * last * f * (1.0f - f);
                    d[4 + q] = dc * i * (1.0f - z * z);
                    d[6 + q] = dh * tc * o * (1.0f - o);
                    for (int r = q; r < ROWS; r += 2) store(dgates + LANES * rows[r], d[r]);
                }
                if (t == 0) continue;
                float *back = mine + g * width;
                for (int32_t j = m->start[p]; j < m->start[p + 1]; j++) {
                    const float *w = m->values + (int64_t)ROWS * j;
                    float *at = back + (int64_t)LANES * m->cols[j];
                    vec even = d[0] * w[0], odd = d[1] * w[1];
                    for (int r = 2; r < ROWS; r += 2) { even += d[r] * w[r]; odd += d[r + 1] * w[r + 1]; }
                    store(at, load(at) + (even + odd));
                }
            }
        }
        barrier_wait(a->sync);
    }
}

/* ---- batch norm of the input projections, over the frames whose mask is 1 ---- */

typedef struct {
    int64_t frames;
    int32_t features;
    const float *x;     /* [frames][features][8] */
    const float *mask;  /* [frames][8], 1 for a frame of speech, 0 for padding */
    float *mean, *var;  /* [features]; the variance is the biased one */
    const float *rstd, *gain;
    float *dgain, *dbias;
    float *d;           /* [frames][features][8] in: gradient of the normalised values, out: of x */
    float count;        /* frames of speech */
} norm_job;

enum { SLICE = 64 };    /* features whose running sums stay in the first-level cache */

MULTIVERSION static void norm_stats_work(const void *arg, int thread, int threads) {
    const norm_job *a = arg;
    const int begin = (int)((int64_t)a->features * thread / threads);
    const int end = (int)((int64_t)a->features * (thread + 1) / threads);
    vec total[SLICE];
    for (int f0 = begin; f0 < end; f0 += SLICE) {
        const int n = f0 + SLICE < end ? SLICE : end - f0;
        /* Mean first, then the mean square about it: no cancellation whatever the mean. */
        for (int pass = 0; pass < 2; pass++) {
            for (int f = 0; f < n; f++) total[f] = splat(0.0f);
            for (int64_t t = 0; t < a->frames; t++) {
                const float *x = a->x + (t * a->features + f0) * LANES;
                const vec mask = load(a->mask + t * LANES);
                if (pass == 0)
                    for (int f = 0; f < n; f++) total[f] += load(x + LANES * f) * mask;
                else
                    for (int f = 0; f < n; f++) {
                        const vec e = load(x + LANES * f) - a->mean[f0 + f];
                        total[f] += e * e * mask;
                    }
            }
            for (int f = 0; f < n; f++) (pass ? a->var : a->mean)[f0 + f] = sum(total[f]) / a->count;
        }
    }
}

/* dx = gain rstd (d - mean(d) - xhat mean(d xhat)), Ioffe and Szegedy 2015, section 3. */
MULTIVERSION static void norm_backward_work(const void *arg, int thread, int threads) {
    const norm_job *a = arg;
    const int begin = (int)((int64_t)a->features * thread / threads);
    const int end = (int)((int64_t)a->features * (thread + 1) / threads);
    vec plain[SLICE], along[SLICE];
    for (int f0 = begin; f0 < end; f0 += SLICE) {
        const int n = f0 + SLICE < end ? SLICE : end - f0;
        for (int f = 0; f < n; f++) plain[f] = along[f] = splat(0.0f);
        for (int64_t t = 0; t < a->frames; t++) {
            const int64_t at = (t * a->features + f0) * LANES;
            for (int f = 0; f < n; f++) {
                const vec d = load(a->d + at + LANES * f);
                const vec xhat = (load(a->x + at + LANES * f) - a->mean[f0 + f]) * a->rstd[f0 + f];
                plain[f] += d;
                along[f] += d * xhat;
            }
        }
        for (int f = 0; f < n; f++) {
            a->dbias[f0 + f] = sum(plain[f]);
            a->dgain[f0 + f] = sum(along[f]);
        }
        for (int64_t t = 0; t < a->frames; t++) {
            const int64_t at = (t * a->features + f0) * LANES;
            const vec mask = load(a->mask + t * LANES);
            for (int f = 0; f < n; f++) {
                const vec xhat = (load(a->x + at + LANES * f) - a->mean[f0 + f]) * a->rstd[f0 + f];
                const vec d = load(a->d + at + LANES * f) - a->dbias[f0 + f] / a->count
                              - xhat * (a->dgain[f0 + f] / a->count);
                store(a->d + at + LANES * f, d * (a->gain[f0 + f] * a->rstd[f0 + f]) * mask);
            }
        }
    }
}

/* ---- RMSprop, one pass over memory; plain loops, which the compiler makes vectors of ---- */

typedef struct {
    int64_t count;
    float *weight;
    const float *grad;
    float *square;
    float rate, alpha, rest, eps; /* rest: 1 - alpha, which float arithmetic would not give exactly */
} rmsprop_job;

MULTIVERSION static void rmsprop_work(const void *arg, int thread, int threads) {
    const rmsprop_job *a = arg;
    float *restrict weight = a->weight, *restrict square = a->square;
    const float *restrict grad = a->grad;
    const float rate = a->rate, alpha = a->alpha, rest = a->rest, eps = a->eps;
    const int64_t begin = a->count * thread / threads, end = a->count * (thread + 1) / threads;
    for (int64_t i = begin; i < end; i++) {
        square[i] = alpha * square[i] + rest * grad[i] * grad[i];
        weight[i] -= rate * grad[i] / (__builtin_sqrtf(square[i]) + eps);
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
                    float low, float high, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    barrier sync = {0, 0, threads};
    forward_job job = {*m,   steps, groups,    cells, pre, gain, bias, gates,
                       cell, out,   tanh_cell, step, low, high, &sync};
    return run_parallel(forward_work, &job, threads);
}

int fp_lstm_backward(const matrix *m, int64_t steps, int groups, int cells, const float *gates, const float *cell,
                     const float *tanh_cell, const float *dout, float *dgates, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    const size_t all = (size_t)groups * cells * LANES;
    float *memory = calloc(all * (1 + 2 * threads), sizeof(float));
    if (!memory) return -1;
    barrier sync = {0, 0, threads};
    backward_job job = {*m, steps, groups, cells, gates, cell, tanh_cell, dout, dgates, memory, memory + all, &sync};
    int status = run_parallel(backward_work, &job, threads);
    free(memory);
    return status;
}

int fp_norm_stats(int64_t frames, int features, const float *x, const float *mask, float count, float *mean,
                  float *var, int threads) {
    norm_job job = {.frames = frames, .features = features, .x = x, .mask = mask, .mean = mean, .var = var,
                    .count = count};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(norm_stats_work, &job, threads);
}

int fp_norm_backward(int64_t frames, int features, const float *x, const float *mask, float count, float *mean,
                     const float *rstd, const float *gain, float *d, float *dgain, float *dbias, int threads) {
    norm_job job = {.frames = frames, .features = features, .x = x, .mask = mask, .mean = mean, .rstd = rstd,
                    .gain = gain, .d = d, .dgain = dgain, .dbias = dbias, .count = count};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(norm_backward_work, &job, threads);
}

int fp_rmsprop(int64_t count, float *weight, const float *grad, float *square, float rate, float alpha, float rest,
               float eps, int threads) {
    rmsprop_job job = {count, weight, grad, square, rate, alpha, rest, eps};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(rmsprop_work, &job, threads);
}
