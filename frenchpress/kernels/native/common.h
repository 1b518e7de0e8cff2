/* What the training kernels share: vectors of eight sequences, threads, and what an LSTM cell does in a time step.
 *
 * Data layout: eight sequences lie side by side in one vector, so a tensor is [n][feature][8] where n counts frames
 * (for more than eight sequences, n runs over groups of eight within a frame).
 *
 * Work is split between threads the same way for the same number of threads, and no sum depends on timing: results
 * repeat to the bit for a given number of threads.
 */
#ifndef FRENCHPRESS_COMMON_H
#define FRENCHPRESS_COMMON_H
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
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

/* ---- threads: started for one call, joined at its end; a barrier that yields when the machine is crowded ---- */

typedef struct { atomic_int arrived, round; int count; } barrier;

static inline void barrier_wait(barrier *b) {
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

static inline void *thread_main(void *arg) {
    start_info *s = arg;
    s->work(s->job, s->thread, s->threads);
    return NULL;
}

/* Run `work` as threads 0..threads-1. The caller is thread 0; -1 when a thread could not be started. */
static inline int run_parallel(worker work, const void *job, int threads) {
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

/* exp of `count` vectors (a constant, at most 4) in place, stage by stage over all of them, since each one alone would
 * wait for itself. On [-87, 88]: x = n ln 2 + r with |r| <= ln 2 / 2, Taylor to r^7 / 7!, about 1 ulp. */
INLINE void exps(vec *x, int count) {
    static const float taylor[] = {1.38888889e-3f, 8.33333333e-3f, 4.16666667e-2f, 1.66666667e-1f, 0.5f, 1.0f, 1.0f};
    vec n[4], r[4], p[4];
    for (int k = 0; k < count; k++) x[k] = vmin(vmax(x[k], splat(-87.0f)), splat(88.0f));
    for (int k = 0; k < count; k++) n[k] = vround(x[k] * 1.44269504f);
    for (int k = 0; k < count; k++) r[k] = (x[k] - n[k] * 0.693359375f) + n[k] * 2.12194440e-4f;
    for (int k = 0; k < count; k++) p[k] = splat(1.98412698e-4f);
    for (int term = 0; term < 7; term++)
        for (int k = 0; k < count; k++) p[k] = p[k] * r[k] + taylor[term];
    for (int k = 0; k < count; k++) {
        const ivec exponent = (__builtin_convertvector(n[k], ivec) + 127) << 23;
        x[k] = p[k] * (vec)exponent;
    }
}

/* 1 / (1 + exp(-x)) of `count` vectors (a constant, at most 4) in place. */
INLINE void sigmoids(vec *x, int count) {
    for (int k = 0; k < count; k++) x[k] = -x[k];
    exps(x, count);
    for (int k = 0; k < count; k++) x[k] = 1.0f / (1.0f + x[k]);
}

INLINE float sum(vec v) { return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])); }
/* Adds the sum of each of four vectors to as many places. */
INLINE void add_sums(float *places, const vec *v) {
    const vec first = SHUFFLE(v[0], v[1], 0, 8, 2, 10, 4, 12, 6, 14) + SHUFFLE(v[0], v[1], 1, 9, 3, 11, 5, 13, 7, 15);
    const vec second = SHUFFLE(v[2], v[3], 0, 8, 2, 10, 4, 12, 6, 14) + SHUFFLE(v[2], v[3], 1, 9, 3, 11, 5, 13, 7, 15);
    const vec fours = SHUFFLE(first, second, 0, 1, 8, 9, 4, 5, 12, 13) + SHUFFLE(first, second, 2, 3, 10, 11, 6, 7, 14, 15);
    half_vec halves[2];
    memcpy(halves, &fours, sizeof halves);
    *(half_vec *)places += halves[0] + halves[1];
}

/* ---- one LSTM cell, one time step ---- */

typedef struct {
    int64_t steps;
    int32_t groups;     /* groups of eight sequences */
    int32_t cells;
    const float *pre;   /* [steps][groups][4 cells][8] input projections, not yet normalised */
    const float *gain, *bias; /* [4 cells] applied to them: batch norm, or 1 and the bias */
    float *gates;       /* [steps][groups][4 cells][8] gate values i f g o */
    float *cell;        /* [steps][groups][cells][8] cell state */
    float *out;         /* [steps][groups][cells][8] output, as the next step and the next layer see it */
    float *tanh_cell;   /* [steps][groups][cells][8] */
    float step, low, high; /* output rounded to a multiple of step within [low, high] steps; step 0: float */
    float margin;       /* an output that moved by no more since it was last sent stays as it was; negative: all are sent */
    barrier *sync;
} forward_pass;

/* Where the values of group g at step t begin in a tensor of `features` features. */
INLINE int64_t place_of(int64_t t, int groups, int g, int64_t features) {
    return (t * groups + g) * features * LANES;
}

/* The input projection of a gate's row, normalised. */
INLINE vec shifted(const forward_pass *a, int64_t t, int g, int row) {
    const float *pre = a->pre + place_of(t, a->groups, g, 4 * (int64_t)a->cells);
    return load(pre + LANES * (int64_t)row) * a->gain[row] + a->bias[row];
}

enum { GATES = 4, TOGETHER = 4 };

/* The `count` cells (a constant, at most TOGETHER) from c on, of group g at step t, from the sums of their gates. */
INLINE void cells_forward(const forward_pass *a, int64_t t, int g, int c, int count, vec s[][GATES]) {
    const int64_t width = (int64_t)a->cells * LANES, place = place_of(t, a->groups, g, a->cells) + (int64_t)LANES * c;
    float *gates = a->gates + place_of(t, a->groups, g, 4 * (int64_t)a->cells) + (int64_t)LANES * c;
    vec o[TOGETHER], tc[TOGETHER];
    for (int k = 0; k < count; k++) {
        vec v[GATES] = {s[k][0], s[k][1], 2.0f * s[k][2], s[k][3]}; /* tanh(x) = 2 sigmoid(2 x) - 1 */
        sigmoids(v, GATES);
        v[2] = 2.0f * v[2] - 1.0f;
        const int64_t at = place + LANES * k;
        const vec last = t > 0 ? load(a->cell + at - width * a->groups) : splat(0.0f);
        const vec state = v[1] * last + v[0] * v[2];
        for (int gate = 0; gate < GATES; gate++) store(gates + gate * width + LANES * k, v[gate]);
        store(a->cell + at, state);
        o[k] = v[3];
        tc[k] = 2.0f * state;
    }
    sigmoids(tc, count);
    for (int k = 0; k < count; k++) {
        const int64_t at = place + LANES * k;
        tc[k] = 2.0f * tc[k] - 1.0f;
        vec h = o[k] * tc[k];
        if (a->step > 0) h = vmin(vmax(vround(h / a->step), splat(a->low)), splat(a->high)) * a->step;
        if (a->margin >= 0) {
            const vec sent = t > 0 ? load(a->out + at - width * a->groups) : splat(0.0f);
            const vec moved = vmax(h - sent, sent - h);
            h = choose(moved <= a->margin, sent, h); /* a NaN is sent */
        }
        store(a->tanh_cell + at, tc[k]);
        store(a->out + at, h);
    }
}

typedef struct {
    int64_t steps;
    int32_t groups, cells;
    const float *gates, *cell, *tanh_cell; /* as the forward pass left them */
    const float *dout;  /* [steps][groups][cells][8] */
    float *dgates;      /* [steps][groups][4 cells][8] gradient of the input projections; may be `gates` itself */
    float *dcell;       /* [groups][cells][8] zeroed */
    barrier *sync;
} backward_pass;

/* Gradients d of the gates' sums of cell c of group g at step t; `back`: what its output gets from step t + 1. */
INLINE void cell_backward(const backward_pass *a, int64_t t, int g, int c, vec back, vec d[4]) {
    const int64_t width = (int64_t)a->cells * LANES, inner = (int64_t)LANES * c;
    const int64_t place = place_of(t, a->groups, g, a->cells) + inner;
    const int64_t wide = place_of(t, a->groups, g, 4 * (int64_t)a->cells) + inner;
    float *dcell = a->dcell + g * width + inner;
    const vec dh = load(a->dout + place) + back;
    const vec i = load(a->gates + wide), f = load(a->gates + wide + width);
    const vec z = load(a->gates + wide + 2 * width), o = load(a->gates + wide + 3 * width);
    const vec tc = load(a->tanh_cell + place);
    const vec last = t > 0 ? load(a->cell + place - width * a->groups) : splat(0.0f);
    const vec dc = load(dcell) + dh * o * (1.0f - tc * tc);
    store(dcell, dc * f);
    d[0] = dc * z * i * (1.0f - i);
    d[1] = dc * last * f * (1.0f - f);
    d[2] = dc * i * (1.0f - z * z);
    d[3] = dh * tc * o * (1.0f - o);
    for (int gate = 0; gate < 4; gate++) store(a->dgates + wide + gate * width, d[gate]);
}

#endif
