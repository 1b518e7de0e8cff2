/* Batch norm of an LSTM's input projections, and RMSprop. */
#include "common.h"

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
    float count;        /* frames of speech; where workers share a batch, of all of them */
    int passes;         /* of the gradient: 1 the sums dbias and dgain, 2 d from the sums given, 3 both */
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
        for (int64_t t = 0; a->passes & 1 && t < a->frames; t++) {
            const int64_t at = (t * a->features + f0) * LANES;
            for (int f = 0; f < n; f++) {
                const vec d = load(a->d + at + LANES * f);
                const vec xhat = (load(a->x + at + LANES * f) - a->mean[f0 + f]) * a->rstd[f0 + f];
                plain[f] += d;
                along[f] += d * xhat;
            }
        }
        for (int f = 0; a->passes & 1 && f < n; f++) {
            a->dbias[f0 + f] = sum(plain[f]);
            a->dgain[f0 + f] = sum(along[f]);
        }
        for (int64_t t = 0; a->passes & 2 && t < a->frames; t++) {
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
/* ---- the interface: plain pointers, 0 on success, -1 when the number of threads does not allow ---- */

int fp_norm_stats(int64_t frames, int features, const float *x, const float *mask, float count, float *mean,
                  float *var, int threads) {
    norm_job job = {.frames = frames, .features = features, .x = x, .mask = mask, .mean = mean, .var = var,
                    .count = count};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(norm_stats_work, &job, threads);
}

int fp_norm_backward(int64_t frames, int features, const float *x, const float *mask, float count, float *mean,
                     const float *rstd, const float *gain, float *d, float *dgain, float *dbias, int passes, int threads) {
    norm_job job = {.frames = frames, .features = features, .x = x, .mask = mask, .mean = mean, .rstd = rstd,
                    .gain = gain, .d = d, .dgain = dgain, .dbias = dbias, .count = count, .passes = passes};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(norm_backward_work, &job, threads);
}

int fp_rmsprop(int64_t count, float *weight, const float *grad, float *square, float rate, float alpha, float rest,
               float eps, int threads) {
    rmsprop_job job = {count, weight, grad, square, rate, alpha, rest, eps};
    return threads < 1 || threads > MAX_THREADS ? -1 : run_parallel(rmsprop_work, &job, threads);
}