/* Losses of logits against a class and against another model's log posteriors, and their gradient. */
#include <math.h>

#include "common.h"

enum { RUN = 4 * LANES }; /* floats whose exponentials are computed together; a row is filled up to whole runs */

typedef struct {
    int64_t frames, classes;
    const float *logits;    /* [frames][classes] */
    const int64_t *targets; /* [frames] */
    const float *teacher;   /* log posteriors [frames][classes], or NULL */
    float temperature;      /* what the logits of both are divided by for the second loss */
    float *hard, *soft, *square; /* forward: [frames] each */
    const float *weights;   /* backward: what hard, soft and square count for */
    float *grad;            /* backward: [frames][classes] */
    float *room;            /* [threads][3][classes, filled up][2] */
} loss_job;

/* The softmax of a row, as exp(z - top) and what to divide by. */
typedef struct { float *z, *e; float top, total; } softmax;

static int64_t filled_up(int64_t classes) { return (classes + RUN - 1) / RUN * RUN; }

INLINE softmax make_softmax(const float *row, int64_t classes, float scale, float *room) {
    const int64_t width = filled_up(classes);
    softmax s = {room, room + width, row[0] * scale, 0.0f};
    for (int64_t c = 0; c < classes; c++) s.z[c] = row[c] * scale;
    for (int64_t c = 0; c < classes; c++) s.top = s.z[c] > s.top ? s.z[c] : s.top;
    for (int64_t c = classes; c < width; c++) s.z[c] = s.top - 200.0f;
    vec total = splat(0.0f);
    for (int64_t c = 0; c < width; c += RUN) {
        vec v[4];
        for (int k = 0; k < 4; k++) v[k] = load(s.z + c + LANES * k) - s.top;
        exps(v, 4);
        for (int k = 0; k < 4; k++) store(s.e + c + LANES * k, v[k]);
        total += (v[0] + v[1]) + (v[2] + v[3]);
    }
    s.total = sum(total);
    return s;
}

INLINE float log_total(const softmax *s) { return s->top + logf(s->total); }

MULTIVERSION static void values_work(const void *arg, int thread, int threads) {
    const loss_job *a = arg;
    const int64_t classes = a->classes, width = filled_up(classes);
    float *room = a->room + 6 * width * thread;
    for (int64_t n = a->frames * thread / threads; n < a->frames * (thread + 1) / threads; n++) {
        const float *row = a->logits + n * classes;
        const softmax plain = make_softmax(row, classes, 1.0f, room);
        a->hard[n] = log_total(&plain) - row[a->targets[n]];
        vec square = splat(0.0f), apart = splat(0.0f);
        int64_t c = 0;
        for (; c + LANES <= classes; c += LANES) square += load(row + c) * load(row + c);
        a->square[n] = sum(square);
        for (; c < classes; c++) a->square[n] += row[c] * row[c];
        a->soft[n] = 0.0f;
        if (!a->teacher) continue;
        const softmax p = make_softmax(row, classes, 1.0f / a->temperature, room + 2 * width);
        const softmax q = make_softmax(a->teacher + n * classes, classes, 1.0f / a->temperature, room + 4 * width);
        const float shift = log_total(&p) - log_total(&q);
        for (c = 0; c < width; c += LANES) apart += load(q.e + c) * (load(q.z + c) - load(p.z + c) + shift);
        a->soft[n] = a->temperature * a->temperature * sum(apart) / q.total;
    }
}

MULTIVERSION static void gradient_work(const void *arg, int thread, int threads) {
    const loss_job *a = arg;
    const int64_t classes = a->classes, width = filled_up(classes);
    float *room = a->room + 6 * width * thread;
    for (int64_t n = a->frames * thread / threads; n < a->frames * (thread + 1) / threads; n++) {
        const float *row = a->logits + n * classes;
        float *grad = a->grad + n * classes;
        const softmax plain = make_softmax(row, classes, 1.0f, room);
        const float hard = a->weights[0] / plain.total, square = 2.0f * a->weights[2];
        for (int64_t c = 0; c < classes; c++) grad[c] = hard * plain.e[c] + square * row[c];
        grad[a->targets[n]] -= a->weights[0];
        if (!a->teacher) continue;
        const softmax p = make_softmax(row, classes, 1.0f / a->temperature, room + 2 * width);
        const softmax q = make_softmax(a->teacher + n * classes, classes, 1.0f / a->temperature, room + 4 * width);
        const float soft = a->temperature * a->weights[1], ours = soft / p.total, theirs = soft / q.total;
        for (int64_t c = 0; c < classes; c++) grad[c] += ours * p.e[c] - theirs * q.e[c];
    }
}

static int run_loss(worker work, loss_job job, int threads) {
    if (threads < 1 || threads > MAX_THREADS) return -1;
    job.room = malloc(sizeof(float) * 6 * filled_up(job.classes) * threads);
    if (!job.room) return -1;
    const int status = run_parallel(work, &job, threads);
    free(job.room);
    return status;
}

/* ---- the interface: 0 on success, -1 when memory or the number of threads does not allow ---- */

/* Per frame: -log p(target); T^2 KL(q || p) at temperature T, 0 without a teacher; the sum of squares. */
int fp_loss(int64_t frames, int64_t classes, const float *logits, const int64_t *targets, const float *teacher,
            float temperature, float *hard, float *soft, float *square, int threads) {
    const loss_job job = {.frames = frames, .classes = classes, .logits = logits, .targets = targets,
                          .teacher = teacher, .temperature = temperature, .hard = hard, .soft = soft,
                          .square = square};
    return run_loss(values_work, job, threads);
}

/* Gradient of weights[0] hard + weights[1] soft + weights[2] square. */
int fp_loss_gradient(int64_t frames, int64_t classes, const float *logits, const int64_t *targets,
                     const float *teacher, float temperature, const float *weights, float *grad, int threads) {
    const loss_job job = {.frames = frames, .classes = classes, .logits = logits, .targets = targets,
                          .teacher = teacher, .temperature = temperature, .weights = weights, .grad = grad};
    return run_loss(gradient_work, job, threads);
}
