/* Computing with a packed model: streams of frames through products (kernels.h) and gates (gates.h).
 *
 * Three instruction sets give the same bits, since everything but the input's first multiplication is integer arithmetic;
 * with FP_NO_VECTORS there is plain C alone.
 * Frames go through in chunks: a layer's input products of a whole chunk share each load of a weight.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gates.h"
#if defined(ARM) && defined(__linux__)
#include <sys/auxv.h>
#endif

enum { CHUNK = 16 };

/* ---- numbers before and after the layers ---- */

INLINE void logits(const fp_model *m, const int32_t *restrict acc, int32_t *restrict out) {
    const int32_t *restrict multiplier = m->multiplier, *restrict bias = m->head_bias;
    const int shift = m->head_shift;
    const int64_t half = INT64_C(1) << shift >> 1;
    for (int k = 0; k < m->outputs; k++)
        out[k] = (int32_t)limited((((int64_t)acc[k] * multiplier[k] + half) >> shift) + bias[k], INT32_MAX);
}

/* Ties to even; NaN as 0, so that a bad frame does not end the stream. */
INLINE void quantize(const fp_model *m, const float *restrict feats, int16_t *restrict out) {
    const float top = (float)m->input_top;
    const float *restrict mean = m->mean, *restrict gain = m->gain;
    for (int k = 0; k < m->dim; k++) {
        const float x = rintf((feats[k] - mean[k]) * gain[k]);
        const float held = x > top ? top : x < -top ? -top : x;
        out[k] = (int16_t)(int32_t)(held == held ? held : 0.0f);
    }
}

/* `now` where it has moved by more than `hold` from what was `sent`, which it then is; else what was sent. Without a branch,
 * and in 16 bits, which hold any distance when they have no sign: as many numbers at once as can be. */
INLINE void hold_back(const int16_t *restrict sent, int16_t *restrict now, int32_t hold, int count) {
    for (int k = 0; k < count; k++) {
        const int16_t a = now[k], b = sent[k];
        const uint16_t distance = (uint16_t)((a > b ? a : b) - (a > b ? b : a));
        now[k] = distance > (uint16_t)hold ? a : b;
    }
}

typedef struct {
    void (*quantize)(const fp_model *, const float *, int16_t *);
    fp_step *step;
    void (*logits)(const fp_model *, const int32_t *, int32_t *);
    void (*hold_back)(const int16_t *, int16_t *, int32_t, int);
} kernels;

/* The same C compiled for an instruction set. */
#define COMPILED(NAME, TARGET)                                                                                        \
    TARGET static void quantize_##NAME(const fp_model *m, const float *feats, int16_t *out) {                         \
        quantize(m, feats, out);                                                                                      \
    }                                                                                                                 \
    TARGET static void logits_##NAME(const fp_model *m, const int32_t *acc, int32_t *out) { logits(m, acc, out); }    \
    TARGET static void hold_back_##NAME(const int16_t *sent, int16_t *now, int32_t hold, int count) {                 \
        hold_back(sent, now, hold, count);                                                                            \
    }                                                                                                                 \
    static const kernels NAME = {quantize_##NAME, fp_step_##NAME, logits_##NAME, hold_back_##NAME};

COMPILED(portable, )
#ifdef X86
COMPILED(avx2, AVX2)
COMPILED(vnni, VNNI)
#endif

static const kernels *kernels_of(const fp_model *m) {
#ifdef X86
    if (m->level == FP_AVX512_VNNI) return &vnni;
    if (m->level == FP_AVX2) return &avx2;
#endif
    (void)m;
    return &portable;
}

#ifdef ARM
static int has_dot_products(void) {
#if defined(__linux__)
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__)
    return 1;
#else
    return 0;
#endif
}
#endif

int32_t fp_best_level(void) {
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return FP_AVX512_VNNI;
    if (__builtin_cpu_supports("avx2")) return FP_AVX2;
#endif
#ifdef ARM
    return has_dot_products() ? FP_NEON_DOT : FP_NEON;
#endif
    return FP_PORTABLE;
}

int32_t fp_model_level(fp_model *m, int32_t level) {
    const int32_t best = fp_best_level(), lowest = best >= FP_NEON ? FP_NEON : FP_AVX2; /* of this processor's kind */
    if (level == FP_PORTABLE || (level >= lowest && level <= best)) m->level = level;
    return m->level;
}

/* ---- streams ---- */

struct fp_stream {
    const fp_model *model;
    int started;      /* an utterance is under way */
    int held;         /* frames in `frames`, from row 0 on */
    int unseen;       /* frames to come that no output sees: those before the splice of the first one */
    int16_t *frames;  /* [1 + left + right + CHUNK][dim], quantized, and SLACK numbers more, as all inputs of products;
                         the first is row -1, the frame before those held */
    int16_t *input;   /* [CHUNK][widest] inputs on another grid than they came in */
    int32_t *sums;    /* [CHUNK][most rows] */
    int32_t *back;    /* [most rows] */
    int32_t *value;   /* [most rows] */
    uint8_t *scratch; /* of the products */
    int16_t *out[MAX_LAYERS]; /* [1 + CHUNK][padded] of a layer, of the frame before and of the chunk */
    int32_t *c[MAX_LAYERS];   /* [padded] */
    int16_t *seen[MAX_LAYERS]; /* [columns] inputs of a layer as they were last sent on; NULL where all are */
    kept kept[2 * MAX_LAYERS + 1]; /* of matrices, in the order of `matrix_of`; NULLs where inputs do not stand still */
    moves moved[CHUNK]; /* [most pairs]; NULLs where none is asked for */
};

/* Of each layer the matrices of its inputs and of its own outputs, then that of the head. */
static int matrices_of(const fp_model *m) { return 2 * m->layers + 1; }

static const matrix *matrix_of(const fp_model *m, int number) {
    const lstm_layer *l = &m->layer[number / 2];
    return number == 2 * m->layers ? &m->head : number % 2 ? &l->recurrent_matrix : &l->input_matrix;
}

static size_t widest(const fp_model *m) {
    size_t width = (size_t)m->spliced * m->dim;
    for (int i = 0; i < m->layers; i++)
        if ((size_t)m->layer[i].padded > width) width = m->layer[i].padded;
    return width + SLACK;
}

static size_t most_rows(const fp_model *m) {
    size_t rows = m->padded_outputs;
    for (int i = 0; i < m->layers; i++)
        if ((size_t)GATES * m->layer[i].padded > rows) rows = (size_t)GATES * m->layer[i].padded;
    return rows;
}

/* What is kept from frame to frame to skip what stands still; 0 when out of memory. */
static int keep(fp_stream *s) {
    int32_t pairs = 0;
    for (int i = 0; i < matrices_of(s->model); i++) {
        const matrix *w = matrix_of(s->model, i);
        kept *k = &s->kept[i];
        if (!w->still) continue;
        if (!(k->x = calloc(w->columns, sizeof *k->x)) || !(k->sums = calloc((size_t)ROWS * w->tiles + VECTOR, sizeof *k->sums)))
            return 0;
        if (w->form == PAIRS && fp_pairs(w) > pairs) pairs = fp_pairs(w);
    }
    for (int n = 0; pairs && n < CHUNK; n++)
        if (!(s->moved[n].place = calloc((size_t)pairs + 1, sizeof *s->moved->place)) ||
            !(s->moved[n].change = calloc((size_t)pairs + 1, sizeof *s->moved->change)))
            return 0;
    return 1;
}

fp_stream *fp_stream_new(const fp_model *m) {
    fp_stream *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    const size_t rows = most_rows(m);
    s->model = m;
    int good = (s->frames = calloc((size_t)(1 + m->left + m->right + CHUNK) * m->dim + SLACK, sizeof *s->frames)) &&
               (s->input = calloc(CHUNK * widest(m), sizeof *s->input)) &&
               (s->sums = calloc(CHUNK * rows + VECTOR, sizeof *s->sums)) &&
               (s->back = calloc(rows + VECTOR, sizeof *s->back)) &&
               (s->value = calloc(rows + VECTOR, sizeof *s->value)) &&
               (s->scratch = calloc(CHUNK * widest(m), 2));
    for (int i = 0; good && i < m->layers; i++)
        good = (s->out[i] = calloc((size_t)(1 + CHUNK) * m->layer[i].padded + SLACK, sizeof **s->out)) &&
               (s->c[i] = calloc((size_t)m->layer[i].padded + VECTOR, sizeof **s->c)) &&
               (!m->layer[i].hold_input ||
                (s->seen[i] = calloc(m->layer[i].input_matrix.columns, sizeof **s->seen)));
    if (good && keep(s)) return s;
    fp_stream_free(s);
    return NULL;
}

void fp_stream_free(fp_stream *s) {
    if (!s) return;
    for (int i = 0; i < s->model->layers; i++) {
        free(s->out[i]);
        free(s->c[i]);
        free(s->seen[i]);
    }
    for (int i = 0; i < matrices_of(s->model); i++) {
        free(s->kept[i].x);
        free(s->kept[i].sums);
    }
    for (int n = 0; n < CHUNK; n++) {
        free(s->moved[n].place);
        free(s->moved[n].change);
    }
    free(s->frames);
    free(s->input);
    free(s->sums);
    free(s->back);
    free(s->value);
    free(s->scratch);
    free(s);
}

void fp_stream_reset(fp_stream *s) {
    s->started = s->held = 0;
    for (int i = 0; i < s->model->layers; i++) {
        const size_t padded = s->model->layer[i].padded;
        memset(s->out[i], 0, padded * sizeof **s->out);
        memset(s->c[i], 0, padded * sizeof **s->c);
        if (s->seen[i]) memset(s->seen[i], 0, s->model->layer[i].input_matrix.columns * sizeof **s->seen);
    }
    for (int i = 0; i < matrices_of(s->model); i++) {
        const matrix *w = matrix_of(s->model, i);
        if (!w->still) continue;
        memset(s->kept[i].x, 0, w->columns * sizeof *s->kept->x);
        memset(s->kept[i].sums, 0, (size_t)ROWS * w->tiles * sizeof *s->kept->sums);
    }
}

static int16_t *row(fp_stream *s, int number) { return s->frames + (size_t)(1 + number) * s->model->dim; }

/* Frames with their neighbours, `*stride` apart. Where all are seen, that is what lies from the first one on: no copy. */
static const int16_t *spliced(fp_stream *s, size_t *stride, int frames) {
    const fp_model *m = s->model;
    *stride = m->dim;
    if (m->stride == 1) return row(s, 0);
    int16_t *to = s->input;
    for (int n = 0; n < frames; n++)
        for (int k = 0; k < m->spliced; k++, to += m->dim)
            memcpy(to, row(s, n + k * m->stride), m->dim * sizeof *to);
    *stride = (size_t)m->spliced * m->dim;
    return s->input;
}

/* Inputs [frames] `*stride` apart, brought to the grid that a layer wants. */
static const int16_t *requantized(fp_stream *s, requantizer q, int32_t top, const int16_t *x, size_t *stride,
                                  int width, int frames) {
    if (!q.multiplier) return x;
    for (int n = 0; n < frames; n++)
        for (int k = 0; k < width; k++)
            s->input[(size_t)n * width + k] =
                (int16_t)limited(shifted((int64_t)x[n * *stride + k] * q.multiplier, q.shift), top);
    *stride = width;
    return s->input;
}

/* Inputs [frames] `*stride` apart as a layer sees them. */
static const int16_t *seen(fp_stream *s, int number, const int16_t *x, size_t *stride, int frames) {
    const lstm_layer *l = &s->model->layer[number];
    const int width = l->input_matrix.columns;
    if (!l->hold_input) return x;
    const int16_t *last = s->seen[number];
    for (int n = 0; n < frames; n++) {
        int16_t *row = s->input + (size_t)n * width;
        if (x != s->input) memcpy(row, x + n * *stride, width * sizeof *row);
        kernels_of(s->model)->hold_back(last, row, l->hold_input, width);
        last = row;
    }
    memcpy(s->seen[number], last, width * sizeof *last);
    *stride = width;
    return s->input;
}

static product product_of(const fp_model *m, const matrix *w) {
    if (w->form == SINGLE) return fp_single_product;
    if (w->form == PAIRS) return fp_pairs_product(m->level);
    if (w->form == DENSE_BYTES || w->form == PICKED_BYTES) return fp_bytes_product(m->level);
    return w->form == WINDOWS ? fp_windows_product(m->level) : fp_tiles_product(m->level);
}

/* The product of matrix `number` with a chunk or a part of it: where its sums are, in `out` or where they are kept. */
static const int32_t *multiply_by(fp_stream *s, int number, const int16_t *x, size_t stride, int frames, int32_t *out,
                                  size_t rows) {
    const fp_model *m = s->model;
    const matrix *w = matrix_of(m, number);
    if (w->still) return fp_moved_product(w, m->level, x, stride, frames, out, rows, &s->kept[number], s->moved);
    product_of(m, w)(w, x, stride, frames, out, rows, s->scratch);
    return out;
}

/* One layer over a chunk: its outputs, from row 1 on, `padded` apart. */
static const int16_t *run_layer(fp_stream *s, int number, const int16_t *x, size_t stride, int frames) {
    const fp_model *m = s->model;
    const lstm_layer *l = &m->layer[number];
    const kernels *k = kernels_of(m);
    const size_t rows = (size_t)GATES * l->padded;
    int16_t *out = s->out[number];
    x = requantized(s, l->input, l->input_top, x, &stride, l->input_matrix.columns, frames);
    x = seen(s, number, x, &stride, frames);
    const int32_t *in = multiply_by(s, 2 * number, x, stride, frames, s->sums, rows);
    for (int n = 0; n < frames; n++, out += l->padded) {
        const int32_t *back = multiply_by(s, 2 * number + 1, out, 0, 1, s->back, rows);
        k->step(m, l, in + n * rows, back, s->back, s->value, s->c[number], out + l->padded);
        if (l->hold_output) k->hold_back(out, out + l->padded, l->hold_output, l->cells);
    }
    memcpy(s->out[number], out, l->padded * sizeof *out);
    return s->out[number] + l->padded;
}

/* The first `frames` frames that have all their neighbours: logits, int32 [frames][outputs]. */
static void run_chunk(fp_stream *s, int frames, int32_t *out) {
    const fp_model *m = s->model;
    const kernels *k = kernels_of(m);
    size_t stride;
    const int16_t *x = spliced(s, &stride, frames);
    for (int i = 0; i < m->layers; i++) {
        x = run_layer(s, i, x, stride, frames);
        stride = m->layer[i].padded;
    }
    x = requantized(s, m->head_input, m->head_top, x, &stride, m->head.columns, frames);
    const int32_t *sums = multiply_by(s, 2 * m->layers, x, stride, frames, s->sums, m->padded_outputs);
    for (int n = 0; n < frames; n++) k->logits(m, sums + (size_t)n * m->padded_outputs, out + (size_t)n * m->outputs);
}

/* Compute what can be computed of the frames held; keep the neighbours of what is to come. */
static int64_t advance(fp_stream *s, int32_t *logits_out) {
    const fp_model *m = s->model;
    const int around = m->left + m->right, ready = s->held - around;
    if (ready <= 0) return 0;
    run_chunk(s, ready, logits_out);
    memmove(row(s, -1), row(s, ready - 1), (size_t)(1 + around) * m->dim * sizeof *s->frames);
    s->held = around;
    return ready;
}

/* What was put behind the frames held is one of them, or has gone by unseen. */
static void took(fp_stream *s) {
    if (!s->unseen) {
        s->held++;
        return;
    }
    s->unseen--;
    memcpy(row(s, -1), row(s, 0), s->model->dim * sizeof *s->frames);
}

int64_t fp_stream_push(fp_stream *s, const float *feats, int64_t frames, int32_t *logits_out) {
    const fp_model *m = s->model;
    const size_t size = m->dim * sizeof *s->frames;
    const int room = m->left + m->right + CHUNK;
    int64_t done = 0;
    if (!s->started && frames > 0) { /* the first frame stands in for those before it */
        kernels_of(m)->quantize(m, feats, row(s, 0));
        for (s->held = 0; s->held < m->left; s->held++) memcpy(row(s, s->held + 1), row(s, 0), size);
        s->started = 1, s->unseen = m->left < 0 ? -m->left : 0;
    }
    for (int64_t n = 0; n < frames;) {
        for (; n < frames && s->held < room; n++, took(s))
            kernels_of(m)->quantize(m, feats + n * m->dim, row(s, s->held));
        done += advance(s, logits_out + done * m->outputs);
    }
    return done;
}

int64_t fp_stream_finish(fp_stream *s, int32_t *logits_out) {
    const fp_model *m = s->model;
    int64_t done = 0;
    if (s->started) /* the last frame stands in for those after it */
        for (int k = 0; k < m->right; k++) {
            memcpy(row(s, s->held), row(s, s->held - 1), m->dim * sizeof *s->frames);
            took(s);
            done += advance(s, logits_out + done * m->outputs);
        }
    fp_stream_reset(s);
    return done;
}
