/* Reading a packed file from strangers: every length is checked before it is used, every number before it is trusted. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

enum { VERSION = 6 /* the newest */, MAX_WEIGHTS = 1 << 26 };

/* Say what is wrong, once; 0, so that a check can end with `return fp_fail(...)`. */
int fp_fail(reader *r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (r->error_size) vsnprintf(r->error, r->error_size, format, arguments);
    va_end(arguments);
    return 0;
}

const uint8_t *fp_take(reader *r, size_t size) {
    if ((size_t)(r->end - r->at) < size) {
        fp_fail(r, "%zu bytes are needed, %zu are left", size, (size_t)(r->end - r->at));
        return NULL;
    }
    r->at += size;
    return r->at - size;
}

static uint32_t crc32_of(const uint8_t *p, size_t size) {
    uint32_t table[16], crc = 0xFFFFFFFFu;
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t c = i;
        for (int k = 0; k < 4; k++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
        table[i] = c;
    }
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

void *fp_array(reader *r, size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fp_fail(r, "out of memory");
    return memory;
}

/* A number for each row, from the file's order into that of tiles, zeros for padding. */
static int32_t *ints(reader *r, int gates, int rows) {
    const uint8_t *p = fp_take(r, (size_t)4 * gates * rows);
    const int tiles = tiles_of(gates, rows);
    int32_t *values = p ? fp_array(r, (size_t)tiles * ROWS + VECTOR, 4) : NULL;
    if (!values) return NULL;
    for (int i = 0; i < tiles * ROWS; i++) {
        const int row = row_of(gates, rows, i / ROWS, i % ROWS);
        if (row >= 0) values[i] = (int32_t)u32(p + (size_t)4 * row);
    }
    return values;
}

static float *floats(reader *r, size_t count) {
    const uint8_t *p = fp_take(r, 4 * count);
    float *values = p ? fp_array(r, count, 4) : NULL;
    for (size_t i = 0; values && i < count; i++) {
        const uint32_t bits = u32(p + 4 * i);
        memcpy(values + i, &bits, 4);
        if (!isfinite(values[i])) {
            free(values);
            fp_fail(r, "a mean or gain is not finite");
            return NULL;
        }
    }
    return values;
}

/* ---- matrices ---- */

/* Kept weights, row by row; and no row may overflow 32 bits with inputs of up to `top`. */
static int read_values(reader *r, bits *b, plain *m, int32_t top) {
    size_t place = 0;
    for (int row = 0; row < m->gates * m->rows; row++) {
        int64_t sum = 0;
        for (int column = 0; column < m->columns; column++, place++) {
            if (!kept_here(m, place)) continue;
            const int32_t code = (int32_t)next_bits(b, m->width);
            if (code < 0) return fp_fail(r, "weights are cut short");
            const int32_t value = m->width == 1 ? 2 * code - 1 : code - (code >> (m->width - 1)) * (1 << m->width);
            m->values[place] = (int8_t)value;
            sum += value < 0 ? -value : value;
        }
        if (sum * top >> 31) return fp_fail(r, "a row of weights can add up to more than 32 bits");
    }
    return 1;
}

static int read_shape(reader *r, plain *m, int gates, int rows, int columns) {
    const uint8_t *p = fp_take(r, 8);
    if (!p) return 0;
    m->rows = u16(p), m->columns = u16(p + 2), m->gates = p[4], m->width = p[5], m->levels = p[6], m->masks = p[7];
    if (m->rows != rows || m->columns != columns || m->gates != gates)
        return fp_fail(r, "matrix of %d x %d x %d, expected %d x %d x %d", m->gates, m->rows, m->columns, gates, rows,
                    columns);
    if (m->width < 1 || m->width > 8) return fp_fail(r, "weights of %d bits, expected 1 to 8", m->width);
    const int good = m->levels ? m->masks == 1 || m->masks == gates : m->masks == 0;
    if ((m->levels > MAX_LEVELS && m->levels != RUNS && m->levels != COUNTED) || !good)
        return fp_fail(r, "matrix of %d levels and %d masks", m->levels, m->masks);
    if ((int64_t)gates * rows * columns > MAX_WEIGHTS) return fp_fail(r, "matrix of more than 2^26 weights");
    return fp_read_index_head(r, m);
}

static int read_plain(reader *r, plain *m, int32_t top) {
    const size_t one = (size_t)m->rows * m->columns;
    bits b = {r->at, 0, (uint64_t)(r->end - r->at) * 8};
    if (m->levels && !(m->mask = fp_array(r, m->masks * one, 1))) return 0;
    if (!fp_read_masks(r, &b, m)) return 0;
    if (!(m->values = fp_array(r, m->gates * one, 1)) || !read_values(r, &b, m, top)) return 0;
    const size_t size = ((size_t)((b.at + 7) / 8) + 3) / 4 * 4;
    if (!fp_take(r, size)) return 0;
    while (b.at < (uint64_t)size * 8)
        if (next_bits(&b, 1)) return fp_fail(r, "bits that fill up the last bytes are not zero");
    return 1;
}

static int read_matrix(reader *r, matrix *t, int gates, int rows, int columns, int32_t top) {
    plain m = {0};
    const int good = read_shape(r, &m, gates, rows, columns) && read_plain(r, &m, top) && fp_lay_out(r, &m, t, top);
    free(m.mask);
    free(m.values);
    return good;
}

/* ---- sections ---- */

static int32_t top_of(int bits) { return bits >= 2 && bits <= 16 ? (1 << (bits - 1)) - 1 : 0; }

static int read_requantizer(reader *r, requantizer *q, uint32_t multiplier, int shift) {
    q->multiplier = (int32_t)multiplier, q->shift = shift;
    if (multiplier >> 31 || shift > 46 || (multiplier && !shift)) return fp_fail(r, "damaged requantizer");
    return 1;
}

static int check_multipliers(reader *r, const int32_t *multiplier, int count, int shift) {
    if (shift < 1 || shift > 56) return fp_fail(r, "shift %d is outside 1 to 56", shift);
    for (int i = 0; i < count; i++)
        if (multiplier[i] >= 1 << 30 || multiplier[i] <= -(1 << 30)) return fp_fail(r, "a multiplier is outside 30 bits");
    return 1;
}

/* What accumulators come to must fit into 32 bits, whatever the inputs; then nothing later needs a check. */
static int check_gates(reader *r, const lstm_layer *l) {
    const matrix *x = &l->input_matrix, *h = &l->recurrent_matrix;
    for (int i = 0; i < ROWS * x->tiles; i++) {
        const int64_t sum = fp_row_limit(x, i, l->input_top) * abs(l->along[i]) +
                            fp_row_limit(h, i, l->output_top) * abs(l->back[i]);
        const int64_t bias = l->bias[i] < 0 ? -(int64_t)l->bias[i] : l->bias[i];
        if ((sum >> l->shift) + bias + 1 >= INT64_C(1) << 31) return fp_fail(r, "a gate can exceed 32 bits");
    }
    return 1;
}

static int read_input(reader *r, fp_model *m) {
    const uint8_t *p = fp_take(r, 8);
    if (!p) return 0;
    m->dim = u16(p), m->left = (int8_t)p[2], m->right = p[3], m->input_top = top_of(p[4]), m->stride = p[5] + 1;
    if (!m->dim || !m->input_top) return fp_fail(r, "%d features of %d bits", m->dim, p[4]);
    if (m->left + m->right < 0) return fp_fail(r, "a splice of the frames from %d to %d", -m->left, m->right);
    if (m->left % m->stride || m->right % m->stride)
        return fp_fail(r, "%d frames between two of a splice of %d + 1 + %d", p[5], m->left, m->right);
    m->spliced = (m->left + m->right) / m->stride + 1;
    return (m->mean = floats(r, m->dim)) && (m->gain = floats(r, m->dim));
}

static int read_lstm(reader *r, lstm_layer *l, int inputs, int32_t given_top) {
    const uint8_t *p = fp_take(r, 16);
    if (!p) return 0;
    l->cells = u16(p), l->padded = (l->cells + 3) / 4 * 4;
    l->input_top = top_of(p[2]), l->output_top = top_of(p[3]), l->shift = p[4];
    const uint32_t out = u32(p + 12);
    if (!l->cells || !l->input_top || !l->output_top || !out || out >> 31) return fp_fail(r, "damaged sizes");
    if (!read_requantizer(r, &l->input, u32(p + 8), p[5])) return 0;
    if (!l->input.multiplier && l->input_top != given_top) return fp_fail(r, "inputs of other bits than come in");
    l->out_multiplier = (int32_t)out;
    const int count = ROWS * tiles_of(GATES, l->cells);
    return (l->along = ints(r, GATES, l->cells)) && (l->back = ints(r, GATES, l->cells)) &&
           (l->bias = ints(r, GATES, l->cells)) && check_multipliers(r, l->along, count, l->shift) &&
           check_multipliers(r, l->back, count, l->shift) &&
           read_matrix(r, &l->input_matrix, GATES, l->cells, inputs, l->input_top) &&
           read_matrix(r, &l->recurrent_matrix, GATES, l->cells, l->cells, l->output_top) && check_gates(r, l);
}

static int read_head(reader *r, fp_model *m, int inputs, int32_t given_top) {
    const uint8_t *p = fp_take(r, 12);
    if (!p) return 0;
    m->outputs = u16(p), m->padded_outputs = (m->outputs + WIDE - 1) / WIDE * WIDE;
    m->head_top = top_of(p[2]), m->head_shift = p[3];
    if (!m->outputs || !m->head_top) return fp_fail(r, "damaged sizes");
    if (!read_requantizer(r, &m->head_input, u32(p + 8), p[4])) return 0;
    if (!m->head_input.multiplier && m->head_top != given_top) return fp_fail(r, "inputs of other bits than come in");
    return (m->multiplier = ints(r, 1, m->outputs)) && (m->head_bias = ints(r, 1, m->outputs)) &&
           fp_take(r, (size_t)4 * m->outputs) && check_multipliers(r, m->multiplier, m->outputs, m->head_shift) &&
           read_matrix(r, &m->head, 1, m->outputs, inputs, m->head_top);
}

/* A matrix whose inputs stand still, in a form that gains by it. */
static int skip(reader *r, matrix *w, int stands_still) {
    if (stands_still && w->form == SINGLE && !fp_turn(r, w)) return 0;
    w->still = stands_still && (w->form == PAIRS || w->form == COLUMNS);
    return 1;
}

static int read_holds(reader *r, fp_model *m) {
    for (int i = 0; i < m->layers; i++) {
        const uint8_t *p = fp_take(r, 4);
        if (!p) return 0;
        m->layer[i].hold_input = u16(p), m->layer[i].hold_output = u16(p + 2);
    }
    for (int i = 0; i < m->layers; i++) {
        lstm_layer *l = &m->layer[i];
        if (!skip(r, &l->input_matrix, l->hold_input || (i && l[-1].hold_output))) return 0;
        if (!skip(r, &l->recurrent_matrix, l->hold_output)) return 0;
    }
    return skip(r, &m->head, m->layer[m->layers - 1].hold_output);
}

static int is_next(const reader *r, const char *tag) { return r->end - r->at >= 4 && !memcmp(r->at, tag, 4); }

/* The next section, which must be `tag`: `piece` is its body. */
static int section(reader *r, const char *tag, reader *piece) {
    const uint8_t *p = fp_take(r, 8), *body;
    if (!p) return 0;
    if (memcmp(p, tag, 4)) return fp_fail(r, "section %.4s expected", tag);
    const uint32_t size = u32(p + 4);
    if (!(body = fp_take(r, size)) || !fp_take(r, -size % 4)) return 0;
    *piece = (reader){body, body + size, r->error, r->error_size};
    return 1;
}

static int ended(reader *r) { return r->at == r->end ? 1 : fp_fail(r, "%zu bytes too many", (size_t)(r->end - r->at)); }

static int read_all(reader *r, fp_model *m, size_t size) {
    const uint8_t *p = fp_take(r, 20);
    reader piece;
    if (!p || memcmp(p, "FPRESS\r\n", 8)) return fp_fail(r, "not a packed model");
    const uint32_t version = u16(p + 8);
    if (version < 1 || version > VERSION)
        return fp_fail(r, "version %u of the format, this program reads 1 to %d", version, VERSION);
    if (u32(p + 12) != size || u32(p + 16) != crc32_of(p + 20, size - 20))
        return fp_fail(r, "damaged: its length or checksum is wrong");
    const int32_t sections = (int32_t)u16(p + 10);
    if (sections < 4 || sections > MAX_LAYERS + 5) return fp_fail(r, "%d sections", sections);
    if (!section(r, "META", &piece) || !section(r, "FEAT", &piece) || !read_input(&piece, m) || !ended(&piece)) return 0;
    int width = m->spliced * m->dim;
    int32_t top = m->input_top;
    do {
        if (m->layers == MAX_LAYERS) return fp_fail(r, "more than %d layers", MAX_LAYERS);
        lstm_layer *l = &m->layer[m->layers++];
        if (!section(r, "LSTM", &piece) || !read_lstm(&piece, l, width, top) || !ended(&piece)) return 0;
        width = l->cells, top = l->output_top;
    } while (is_next(r, "LSTM"));
    if (!section(r, "HEAD", &piece) || !read_head(&piece, m, width, top) || !ended(&piece)) return 0;
    const int holds = is_next(r, "HOLD");
    if (holds && (!section(r, "HOLD", &piece) || !read_holds(&piece, m) || !ended(&piece))) return 0;
    /* The front end is not the network's business: its frame is checked, what is in it is not looked at. */
    const int front = is_next(r, "FRNT");
    if (front && !section(r, "FRNT", &piece)) return 0;
    const int found = m->layers + 3 + holds + front;
    if (sections != found) return fp_fail(r, "%d sections, its header says %d", found, sections);
    return ended(r);
}

/* An entry holds sigmoid(i / 128) - 1/2 with 20 fraction bits and, in the low 12 bits, what the next one has more. */
static void fill_table(uint32_t *table) {
    int32_t value = 1 << 19;
    for (int i = 0; i < 2048; i++) {
        const int32_t next = (int32_t)floor((1 << 20) / (1.0 + exp(-(i + 1) / 128.0)) + 0.5);
        table[i] = (uint32_t)(value - (1 << 19)) << 12 | (uint32_t)(next - value);
        value = next;
    }
}

fp_model *fp_model_read(const uint8_t *bytes, size_t size, char *error, size_t error_size) {
    reader r = {bytes, bytes + size, error, error_size};
    fp_model *m = fp_array(&r, 1, sizeof *m);
    if (!m) return NULL;
    if (!read_all(&r, m, size)) {
        fp_model_free(m);
        return NULL;
    }
    fill_table(m->sigmoid);
    m->level = fp_best_level();
    return m;
}

void fp_model_free(fp_model *m) {
    if (!m) return;
    for (int i = 0; i < m->layers; i++) {
        lstm_layer *l = &m->layer[i];
        free(l->along);
        free(l->back);
        free(l->bias);
        fp_free_matrix(&l->input_matrix);
        fp_free_matrix(&l->recurrent_matrix);
    }
    fp_free_matrix(&m->head);
    free(m->mean);
    free(m->gain);
    free(m->multiplier);
    free(m->head_bias);
    free(m);
}

/* ---- what a model is like ---- */

int32_t fp_model_dim(const fp_model *m) { return m->dim; }
int32_t fp_model_outputs(const fp_model *m) { return m->outputs; }
int32_t fp_model_delay(const fp_model *m) { return m->right; }

static int64_t over_all(const fp_model *m, int64_t (*of)(const matrix *)) {
    int64_t total = of(&m->head);
    for (int i = 0; i < m->layers; i++) total += of(&m->layer[i].input_matrix) + of(&m->layer[i].recurrent_matrix);
    return total;
}

int64_t fp_model_macs(const fp_model *m) { return over_all(m, fp_matrix_macs); }
int64_t fp_model_bytes(const fp_model *m) { return over_all(m, fp_matrix_bytes); }
