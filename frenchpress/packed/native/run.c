/* Computing with a packed model: integer products over the kept weights, gates by table, a cell state in fixed point.
 *
 * Three instruction sets give the same bits, since everything but the input's first multiplication is integer arithmetic;
 * with FP_NO_VECTORS there is plain C alone.
 * Frames go through in chunks: a layer's input products of a whole chunk share each load of a weight.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { CHUNK = 16, VALUE_BITS = 20, STEP_BITS = 9, ENTRIES = 2048, CELL_BITS = 24, OUT_SHIFT = 10 };

/* ---- numbers after the products ---- */

INLINE int64_t shifted(int64_t value, int shift) { return (value + (INT64_C(1) << shift >> 1)) >> shift; }
INLINE int64_t limited(int64_t value, int64_t top) { return value < -top ? -top : value > top ? top : value; }

/* Arguments with 16 fraction bits -> values with 20. */
INLINE int32_t sigmoid(const uint32_t *table, int32_t x) {
    const int32_t limit = (ENTRIES << STEP_BITS) - 1;
    int32_t size = x < 0 ? -x : x;
    size = size < limit ? size : limit;
    const uint32_t entry = table[size >> STEP_BITS];
    const int32_t more = entry & 4095, rest = size & ((1 << STEP_BITS) - 1);
    const int32_t above = (int32_t)(entry >> 12) + ((more * rest + (1 << (STEP_BITS - 1))) >> STEP_BITS);
    return (1 << (VALUE_BITS - 1)) + (x < 0 ? -above : above);
}

/* Arguments of `count` gates: (ax * along + ah * back) / 2^shift + bias. */
INLINE void arguments_portable(const lstm_layer *l, const int32_t *ax, const int32_t *ah, int32_t *z, int count) {
    for (int k = 0; k < count; k++) {
        const int64_t sum = (int64_t)ax[k] * l->along[k] + (int64_t)ah[k] * l->back[k];
        z[k] = (int32_t)shifted(sum, l->shift) + l->bias[k];
    }
}

#ifdef X86
/* The same on vectors of P. Products of even and of odd lanes are 64 bits wide. Since the sum lies within +-2^62, 2^62
 * more makes it positive: a logical shift then gives the low 32 bits that an arithmetic one would, but for the 2^62. */
#define ARGUMENTS(NAME, TARGET, P, V, LANES, JOIN)                                                                     \
    TARGET INLINE V NAME##_load(const int32_t *p) { return P##_loadu_si##JOIN((const void *)p); }                      \
    TARGET INLINE V NAME##_wide(V a, V b, V c, V d, V start, __m128i shift) {                                          \
        return P##_srl_epi64(P##_add_epi64(P##_add_epi64(P##_mul_epi32(a, b), P##_mul_epi32(c, d)), start), shift);    \
    }                                                                                                                  \
    TARGET INLINE void NAME(const lstm_layer *l, const int32_t *ax, const int32_t *ah, int32_t *z, int count) {        \
        const V start = P##_set1_epi64##JOIN##x((INT64_C(1) << 62) + (INT64_C(1) << l->shift >> 1));                   \
        const V low = P##_set1_epi64##JOIN##x(0xFFFFFFFF);                                                             \
        const V offset = P##_set1_epi32((int32_t)(UINT64_C(1) << (62 - l->shift)));                                    \
        const __m128i shift = _mm_cvtsi32_si128(l->shift);                                                             \
        for (int k = 0; k < count; k += LANES) {                                                                       \
            const V a = NAME##_load(ax + k), b = NAME##_load(l->along + k);                                            \
            const V c = NAME##_load(ah + k), d = NAME##_load(l->back + k);                                             \
            const V even = NAME##_wide(a, b, c, d, start, shift);                                                      \
            const V odd = NAME##_wide(P##_srli_epi64(a, 32), P##_srli_epi64(b, 32), P##_srli_epi64(c, 32),             \
                                      P##_srli_epi64(d, 32), start, shift);                                            \
            const V both = P##_or_si##JOIN(P##_and_si##JOIN(even, low), P##_slli_epi64(odd, 32));                      \
            const V bias = P##_sub_epi32(NAME##_load(l->bias + k), offset);                                            \
            P##_storeu_si##JOIN((void *)(z + k), P##_add_epi32(both, bias));                                           \
        }                                                                                                              \
    }
#define _mm256_set1_epi64256x _mm256_set1_epi64x
#define _mm512_set1_epi64512x _mm512_set1_epi64
ARGUMENTS(arguments_avx2, AVX2, _mm256, __m256i, 8, 256)
ARGUMENTS(arguments_vnni, VNNI, _mm512, __m512i, 16, 512)
#endif

typedef uint64_t couple __attribute__((may_alias)); /* of cells, in one gate */

/* Gate values of all tiles, with those of a gate side by side after: [4][padded]. */
INLINE void gates(const fp_model *m, const lstm_layer *l, int32_t *restrict z, int32_t *restrict value) {
    const int count = GATES * l->padded;
    const uint32_t *restrict table = m->sigmoid;
    for (int k = 0; k < count; k++) z[k] = sigmoid(table, z[k]);
    const couple *restrict both = (const void *)z;
    couple *restrict i = (void *)value, *restrict f = (void *)(value + l->padded);
    couple *restrict g = (void *)(value + 2 * l->padded), *restrict o = (void *)(value + 3 * l->padded);
    for (int p = 0; p < l->padded / 2; p++) {
        i[p] = both[4 * p];
        f[p] = both[4 * p + 1];
        g[p] = both[4 * p + 2];
        o[p] = both[4 * p + 3];
    }
}

/* Gate values and cell state c -> the new c and the outputs. */
INLINE void cells(const fp_model *m, const lstm_layer *l, const int32_t *restrict value, int32_t *restrict c,
                  int16_t *restrict out) {
    const int n = l->padded;
    const uint32_t *restrict table = m->sigmoid;
    const int32_t *i = value, *f = value + n, *g = value + 2 * n, *o = value + 3 * n;
    const int64_t factor = l->out_multiplier;
    for (int k = 0; k < n; k++) {
        const int32_t tanh_g = 2 * g[k] - (1 << VALUE_BITS); /* its argument came doubled */
        const int64_t sum = (int64_t)f[k] * c[k] + (int64_t)i[k] * tanh_g * (1 << (CELL_BITS - VALUE_BITS));
        c[k] = (int32_t)limited(shifted(sum, VALUE_BITS), INT32_MAX);
    }
    for (int k = 0; k < n; k++) {
        const int32_t argument = (int32_t)shifted(c[k], CELL_BITS - 16);
        const int32_t tanh_c = 2 * sigmoid(table, 2 * argument) - (1 << VALUE_BITS);
        const int64_t h = shifted((int64_t)o[k] * tanh_c, OUT_SHIFT);
        out[k] = (int16_t)limited(shifted(h * factor, 2 * VALUE_BITS - OUT_SHIFT + 15), l->output_top);
    }
}

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

typedef struct {
    void (*quantize)(const fp_model *, const float *, int16_t *);
    void (*step)(const fp_model *, const lstm_layer *, const int32_t *, int32_t *, int32_t *, int32_t *, int16_t *);
    void (*logits)(const fp_model *, const int32_t *, int32_t *);
} kernels;

/* The same C compiled for an instruction set. */
#define COMPILED(NAME, TARGET)                                                                                        \
    TARGET static void quantize_##NAME(const fp_model *m, const float *feats, int16_t *out) {                         \
        quantize(m, feats, out);                                                                                      \
    }                                                                                                                 \
    TARGET static void step_##NAME(const fp_model *m, const lstm_layer *l, const int32_t *ax, int32_t *ah,            \
                                   int32_t *value, int32_t *c, int16_t *out) {                                        \
        arguments_##NAME(l, ax, ah, ah, GATES *l->padded);                                                            \
        gates(m, l, ah, value);                                                                                       \
        cells(m, l, value, c, out);                                                                                   \
    }                                                                                                                 \
    TARGET static void logits_##NAME(const fp_model *m, const int32_t *acc, int32_t *out) { logits(m, acc, out); }    \
    static const kernels NAME = {quantize_##NAME, step_##NAME, logits_##NAME};

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

int32_t fp_best_level(void) {
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"))
        return FP_AVX512_VNNI;
    if (__builtin_cpu_supports("avx2")) return FP_AVX2;
#endif
    return FP_PORTABLE;
}

int32_t fp_model_level(fp_model *m, int32_t level) {
    if (level >= FP_PORTABLE && level <= fp_best_level()) m->level = level;
    return m->level;
}

/* ---- streams ---- */

struct fp_stream {
    const fp_model *model;
    int started;      /* an utterance is under way */
    int held;         /* frames in `frames` */
    int16_t *frames;  /* [left + right + CHUNK][dim], quantized, and SLACK numbers more, as all inputs of products */
    int16_t *input;   /* [CHUNK][widest] inputs on another grid than they came in */
    int32_t *sums;    /* [CHUNK][most rows] */
    int32_t *back;    /* [most rows] */
    int32_t *value;   /* [most rows] */
    uint8_t *scratch; /* of the products */
    int16_t *out[MAX_LAYERS]; /* [1 + CHUNK][padded] of a layer, of the frame before and of the chunk */
    int32_t *c[MAX_LAYERS];   /* [padded] */
};

static size_t widest(const fp_model *m) {
    size_t width = (size_t)(m->left + 1 + m->right) * m->dim;
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

fp_stream *fp_stream_new(const fp_model *m) {
    fp_stream *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    const size_t rows = most_rows(m);
    s->model = m;
    int good = (s->frames = calloc((size_t)(m->left + m->right + CHUNK) * m->dim + SLACK, sizeof *s->frames)) &&
               (s->input = calloc(CHUNK * widest(m), sizeof *s->input)) &&
               (s->sums = calloc(CHUNK * rows + VECTOR, sizeof *s->sums)) &&
               (s->back = calloc(rows + VECTOR, sizeof *s->back)) &&
               (s->value = calloc(rows + VECTOR, sizeof *s->value)) &&
               (s->scratch = calloc(CHUNK * widest(m), 2));
    for (int i = 0; good && i < m->layers; i++)
        good = (s->out[i] = calloc((size_t)(1 + CHUNK) * m->layer[i].padded + SLACK, sizeof **s->out)) &&
               (s->c[i] = calloc(m->layer[i].padded, sizeof **s->c));
    if (good) return s;
    fp_stream_free(s);
    return NULL;
}

void fp_stream_free(fp_stream *s) {
    if (!s) return;
    for (int i = 0; i < s->model->layers; i++) {
        free(s->out[i]);
        free(s->c[i]);
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
    }
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

static product product_of(const fp_model *m, const matrix *w) {
    if (w->form == SINGLE) return fp_single_product;
    if (w->form == DENSE_BYTES || w->form == PICKED_BYTES) return fp_bytes_product(m->level);
    return w->form == WINDOWS ? fp_windows_product(m->level) : fp_tiles_product(m->level);
}

/* One layer over a chunk: its outputs, from row 1 on, `padded` apart. */
static const int16_t *run_layer(fp_stream *s, int number, const int16_t *x, size_t stride, int frames) {
    const fp_model *m = s->model;
    const lstm_layer *l = &m->layer[number];
    const kernels *k = kernels_of(m);
    const product back = product_of(m, &l->recurrent_matrix);
    const size_t rows = (size_t)GATES * l->padded;
    int16_t *out = s->out[number];
    x = requantized(s, l->input, l->input_top, x, &stride, l->input_matrix.columns, frames);
    product_of(m, &l->input_matrix)(&l->input_matrix, x, stride, frames, s->sums, rows, s->scratch);
    for (int n = 0; n < frames; n++, out += l->padded) {
        back(&l->recurrent_matrix, out, 0, 1, s->back, rows, s->scratch);
        k->step(m, l, s->sums + n * rows, s->back, s->value, s->c[number], out + l->padded);
    }
    memcpy(s->out[number], out, l->padded * sizeof *out);
    return s->out[number] + l->padded;
}

/* The first `frames` frames that have all their neighbours: logits, int32 [frames][outputs]. */
static void run_chunk(fp_stream *s, int frames, int32_t *out) {
    const fp_model *m = s->model;
    const kernels *k = kernels_of(m);
    /* A spliced frame is what lies from its first neighbour on: no copy. */
    const int16_t *x = s->frames;
    size_t stride = m->dim;
    for (int i = 0; i < m->layers; i++) {
        x = run_layer(s, i, x, stride, frames);
        stride = m->layer[i].padded;
    }
    x = requantized(s, m->head_input, m->head_top, x, &stride, m->head.columns, frames);
    product_of(m, &m->head)(&m->head, x, stride, frames, s->sums, m->padded_outputs, s->scratch);
    for (int n = 0; n < frames; n++) k->logits(m, s->sums + (size_t)n * m->padded_outputs, out + (size_t)n * m->outputs);
}

/* Compute what can be computed of the frames held; keep the neighbours of what is to come. */
static int64_t advance(fp_stream *s, int32_t *logits_out) {
    const fp_model *m = s->model;
    const int around = m->left + m->right, ready = s->held - around;
    if (ready <= 0) return 0;
    run_chunk(s, ready, logits_out);
    memmove(s->frames, s->frames + (size_t)ready * m->dim, (size_t)around * m->dim * sizeof *s->frames);
    s->held = around;
    return ready;
}

static int16_t *row(fp_stream *s, int number) { return s->frames + (size_t)number * s->model->dim; }

int64_t fp_stream_push(fp_stream *s, const float *feats, int64_t frames, int32_t *logits_out) {
    const fp_model *m = s->model;
    const size_t size = m->dim * sizeof *s->frames;
    const int room = m->left + m->right + CHUNK;
    int64_t done = 0;
    if (!s->started && frames > 0) { /* the first frame stands in for those before it */
        kernels_of(m)->quantize(m, feats, row(s, 0));
        for (s->held = 0; s->held < m->left; s->held++) memcpy(row(s, s->held + 1), row(s, 0), size);
        s->started = 1;
    }
    for (int64_t n = 0; n < frames;) {
        for (; n < frames && s->held < room; n++) kernels_of(m)->quantize(m, feats + n * m->dim, row(s, s->held++));
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
            s->held++;
            done += advance(s, logits_out + done * m->outputs);
        }
    fp_stream_reset(s);
    return done;
}
