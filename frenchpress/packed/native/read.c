/* Reading a packed file from strangers: every length is checked before it is used, every number before it is trusted. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

enum { VERSION = 1, VERSION_OF_RUNS = 2, MAX_WEIGHTS = 1 << 26, MAX_LEVELS = 16 };
enum { RUNS = 255 /* in place of a number of levels */, WIDEST_RUN = 16 };

typedef struct {
    const uint8_t *at, *end;
    char *error;
    size_t error_size;
} reader;

/* Say what is wrong, once; 0, so that a check can end with `return fail(...)`. */
static int fail(reader *r, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (r->error_size) vsnprintf(r->error, r->error_size, format, arguments);
    va_end(arguments);
    return 0;
}

static const uint8_t *take(reader *r, size_t size) {
    if ((size_t)(r->end - r->at) < size) {
        fail(r, "%zu bytes are needed, %zu are left", size, (size_t)(r->end - r->at));
        return NULL;
    }
    r->at += size;
    return r->at - size;
}

static uint32_t u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t u32(const uint8_t *p) { return u16(p) | u16(p + 2) << 16; }

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

static void *array(reader *r, size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail(r, "out of memory");
    return memory;
}

/* Row of a matrix of `gates` x `rows` rows that is row `k` of tile `p`; -1 for padding. */
static int row_of(int gates, int rows, int p, int k) {
    if (gates == 1) return ROWS * p + k < rows ? ROWS * p + k : -1;
    const int cell = 2 * p + k % 2;
    return cell < rows ? k / 2 * rows + cell : -1;
}

static int tiles_of(int gates, int rows) { return (gates * rows + ROWS - 1) / ROWS; }

/* A number for each row, from the file's order into that of tiles, zeros for padding. */
static int32_t *ints(reader *r, int gates, int rows) {
    const uint8_t *p = take(r, (size_t)4 * gates * rows);
    const int tiles = tiles_of(gates, rows);
    int32_t *values = p ? array(r, (size_t)tiles * ROWS + VECTOR, 4) : NULL;
    if (!values) return NULL;
    for (int i = 0; i < tiles * ROWS; i++) {
        const int row = row_of(gates, rows, i / ROWS, i % ROWS);
        if (row >= 0) values[i] = (int32_t)u32(p + (size_t)4 * row);
    }
    return values;
}

static float *floats(reader *r, size_t count) {
    const uint8_t *p = take(r, 4 * count);
    float *values = p ? array(r, count, 4) : NULL;
    for (size_t i = 0; values && i < count; i++) {
        const uint32_t bits = u32(p + 4 * i);
        memcpy(values + i, &bits, 4);
        if (!isfinite(values[i])) {
            free(values);
            fail(r, "a mean or gain is not finite");
            return NULL;
        }
    }
    return values;
}

/* ---- matrices ---- */

typedef struct { uint32_t block, numerator, denominator; } level;

typedef struct { uint32_t kept; int width; } runs; /* of a mask: weights kept, bits of a number */

typedef struct { const uint8_t *data; uint64_t at, end; } bits;

/* The next `count` bits, at most 16; -1 at the end. */
static int32_t next_bits(bits *b, int count) {
    if (b->end - b->at < (uint64_t)count) return -1;
    int32_t value = 0;
    for (int i = 0; i < count; i++, b->at++) value |= (b->data[b->at >> 3] >> (b->at & 7) & 1) << i;
    return value;
}

typedef struct {
    int rows, columns, gates, width, levels, masks; /* RUNS levels: any mask */
    level level[MAX_LEVELS];
    runs runs[GATES];
    uint8_t *mask;  /* [masks][rows][columns], NULL when dense */
    int8_t *values; /* [gates][rows][columns] */
} plain;

static int bit_length(uint32_t x) {
    int length = 0;
    while (x) length++, x >>= 1;
    return length;
}

/* Kept blocks of one rectangle of the mask, coarse to fine; 0 when the index is damaged. */
static int read_index(bits *b, const plain *m, uint8_t *mask, int rows, int columns, int depth) {
    const level *l = &m->level[depth];
    const int block = (int)l->block, blocks = (columns + block - 1) / block, width = bit_length(blocks - 1);
    int64_t kept = ((int64_t)2 * l->numerator * blocks + l->denominator) / ((int64_t)2 * l->denominator);
    if (kept < 1) kept = 1;
    for (int top = 0; top < rows; top += block) {
        const int height = rows - top < block ? rows - top : block;
        bits numbers = *b; /* those of the whole row come first, then what is in its blocks */
        int last = -1;
        for (int64_t k = 0; k < kept; k++) {
            const int number = next_bits(b, width);
            if (number <= last || number >= blocks) return 0;
            last = number;
        }
        for (int64_t k = 0; k < kept; k++) {
            const int left = next_bits(&numbers, width) * block;
            const int breadth = columns - left < block ? columns - left : block;
            uint8_t *corner = mask + (size_t)top * m->columns + left;
            if (depth + 1 < m->levels) {
                if (!read_index(b, m, corner, height, breadth, depth + 1)) return 0;
            } else {
                for (int y = 0; y < height; y++) memset(corner + (size_t)y * m->columns, 1, breadth);
            }
        }
    }
    return 1;
}

/* Kept weights of any mask, by how many removed ones stand before each; 0 when the index is damaged. */
static int read_runs(bits *b, const plain *m, const runs *r, uint8_t *mask) {
    const int64_t size = (int64_t)m->rows * m->columns;
    const int32_t more = (1 << r->width) - 1; /* removed, and the run goes on */
    int64_t place = 0;
    for (uint32_t k = 0; k < r->kept; k++) {
        int32_t number;
        do {
            number = next_bits(b, r->width);
            place += number;
            if (number < 0 || place >= size) return 0;
        } while (number == more);
        mask[place++] = 1;
    }
    return 1;
}

static int kept_here(const plain *m, size_t place) {
    if (!m->mask) return 1;
    const size_t one = (size_t)m->rows * m->columns;
    return m->mask[place % (one * m->masks)];
}

/* Kept weights, row by row; and no row may overflow 32 bits with inputs of up to `top`. */
static int read_values(reader *r, bits *b, plain *m, int32_t top) {
    size_t place = 0;
    for (int row = 0; row < m->gates * m->rows; row++) {
        int64_t sum = 0;
        for (int column = 0; column < m->columns; column++, place++) {
            if (!kept_here(m, place)) continue;
            const int32_t code = next_bits(b, m->width);
            if (code < 0) return fail(r, "weights are cut short");
            const int32_t value = m->width == 1 ? 2 * code - 1 : code - (code >> (m->width - 1)) * (1 << m->width);
            m->values[place] = (int8_t)value;
            sum += value < 0 ? -value : value;
        }
        if (sum * top >> 31) return fail(r, "a row of weights can add up to more than 32 bits");
    }
    return 1;
}

static int read_levels(reader *r, plain *m) {
    for (int i = 0; i < m->levels; i++) {
        const uint8_t *p = take(r, 8);
        if (!p) return 0;
        m->level[i] = (level){u16(p), u16(p + 2), u16(p + 4)};
        const level *l = &m->level[i];
        if (!l->block || !l->numerator || l->numerator > l->denominator || (i && l->block > l[-1].block))
            return fail(r, "level of blocks of %u, keeping %u/%u", l->block, l->numerator, l->denominator);
    }
    return 1;
}

static int read_run_sizes(reader *r, plain *m) {
    for (int i = 0; i < m->masks; i++) {
        const uint8_t *p = take(r, 8);
        if (!p) return 0;
        m->runs[i] = (runs){u32(p), p[4]};
        if (m->runs[i].kept > (uint32_t)(m->rows * m->columns) || p[4] < 1 || p[4] > WIDEST_RUN)
            return fail(r, "a mask that keeps %u weights, in runs of %d bits", m->runs[i].kept, p[4]);
    }
    return 1;
}

static int read_shape(reader *r, plain *m, int gates, int rows, int columns) {
    const uint8_t *p = take(r, 8);
    if (!p) return 0;
    m->rows = u16(p), m->columns = u16(p + 2), m->gates = p[4], m->width = p[5], m->levels = p[6], m->masks = p[7];
    if (m->rows != rows || m->columns != columns || m->gates != gates)
        return fail(r, "matrix of %d x %d x %d, expected %d x %d x %d", m->gates, m->rows, m->columns, gates, rows,
                    columns);
    if (m->width < 1 || m->width > 8) return fail(r, "weights of %d bits, expected 1 to 8", m->width);
    const int good = m->levels ? m->masks == 1 || m->masks == gates : m->masks == 0;
    if ((m->levels > MAX_LEVELS && m->levels != RUNS) || !good)
        return fail(r, "matrix of %d levels and %d masks", m->levels, m->masks);
    if ((int64_t)gates * rows * columns > MAX_WEIGHTS) return fail(r, "matrix of more than 2^26 weights");
    return m->levels == RUNS ? read_run_sizes(r, m) : read_levels(r, m);
}

static int read_mask(bits *b, const plain *m, int k) {
    uint8_t *mask = m->mask + (size_t)k * m->rows * m->columns;
    return m->levels == RUNS ? read_runs(b, m, &m->runs[k], mask) : read_index(b, m, mask, m->rows, m->columns, 0);
}

static int read_plain(reader *r, plain *m, int32_t top) {
    const size_t one = (size_t)m->rows * m->columns;
    bits b = {r->at, 0, (uint64_t)(r->end - r->at) * 8};
    if (m->levels && !(m->mask = array(r, m->masks * one, 1))) return 0;
    for (int k = 0; k < m->masks; k++)
        if (!read_mask(&b, m, k)) return fail(r, "damaged index");
    if (!(m->values = array(r, m->gates * one, 1)) || !read_values(r, &b, m, top)) return 0;
    const size_t size = ((size_t)((b.at + 7) / 8) + 3) / 4 * 4;
    if (!take(r, size)) return 0;
    while (b.at < (uint64_t)size * 8)
        if (next_bits(&b, 1)) return fail(r, "bits that fill up the last bytes are not zero");
    return 1;
}

/* Whether any row of tile `p` keeps one of the two columns of `pair`. */
static int pair_kept(const plain *m, int p, int pair) {
    for (int k = 0; k < ROWS; k++) {
        const int row = row_of(m->gates, m->rows, p, k);
        if (row < 0) continue;
        const size_t place = (size_t)row * m->columns + 2 * pair;
        if (kept_here(m, place) || (2 * pair + 1 < m->columns && kept_here(m, place + 1))) return 1;
    }
    return 0;
}

static void fill_step(const plain *m, int p, int pair, int8_t *weights) {
    for (int k = 0; k < ROWS; k++) {
        const int row = row_of(m->gates, m->rows, p, k);
        if (row < 0) continue;
        const size_t place = (size_t)row * m->columns + 2 * pair;
        weights[2 * k] = m->values[place];
        if (2 * pair + 1 < m->columns) weights[2 * k + 1] = m->values[place + 1];
    }
}

static int tile_up(reader *r, const plain *m, matrix *t) {
    const int pairs = (m->columns + 1) / 2;
    const size_t steps = t->start[t->tiles];
    if (!(t->column = array(r, steps, 2)) || !(t->weights = array(r, steps, 2 * ROWS))) return 0;
    for (int p = 0; p < t->tiles; p++) {
        uint32_t step = t->start[p];
        for (int pair = 0; pair < pairs; pair++)
            if (pair_kept(m, p, pair)) {
                t->column[step] = (uint16_t)pair;
                fill_step(m, p, pair, t->weights + (size_t)2 * ROWS * step++);
            }
    }
    return 1;
}

/* Kept weights one by one, `count` of them. */
static int line_up(reader *r, const plain *m, matrix *t, size_t count) {
    t->single = 1;
    free(t->start);
    if (!(t->start = array(r, (size_t)ROWS * t->tiles + 1, 4)) || !(t->column = array(r, count, 2)) ||
        !(t->weights = array(r, count, 1)))
        return 0;
    uint32_t weight = 0;
    for (int i = 0; i < ROWS * t->tiles; i++) {
        const int row = row_of(m->gates, m->rows, i / ROWS, i % ROWS);
        for (int column = 0; row >= 0 && column < m->columns; column++) {
            const size_t place = (size_t)row * m->columns + column;
            if (!kept_here(m, place)) continue;
            t->column[weight] = (uint16_t)column;
            t->weights[weight++] = m->values[place];
        }
        t->start[i + 1] = weight;
    }
    return 1;
}

static size_t count_kept(const plain *m) {
    size_t kept = 0;
    for (size_t place = 0; place < (size_t)m->gates * m->rows * m->columns; place++) kept += kept_here(m, place);
    return kept;
}

/* The form that is faster. With vectors a step takes no longer than a single weight; without them, as long as nine (x86;
 * elsewhere a compiler may make more of it, so four are taken for as long). */
static int lay_out(reader *r, const plain *m, matrix *t) {
    const int pairs = (m->columns + 1) / 2;
    t->tiles = tiles_of(m->gates, m->rows), t->columns = m->columns;
    if (!(t->start = array(r, (size_t)t->tiles + 1, 4))) return 0;
    for (int p = 0; p < t->tiles; p++) {
        uint32_t count = 0;
        for (int pair = 0; pair < pairs; pair++) count += pair_kept(m, p, pair);
        t->start[p + 1] = t->start[p] + (count + STEPS - 1) / STEPS * STEPS;
    }
    if (fp_best_level() != FP_PORTABLE) return tile_up(r, m, t);
    const size_t kept = count_kept(m);
    return kept < 4 * (size_t)t->start[t->tiles] ? line_up(r, m, t, kept) : tile_up(r, m, t);
}

/* The largest sum of each row, in the order of tiles: inputs of `top` where weights are positive, -top elsewhere. */
static int64_t row_limit(const matrix *t, int tile, int row, int32_t top) {
    int64_t sum = 0;
    if (t->single) {
        const uint32_t *start = t->start + ROWS * tile + row;
        for (size_t k = start[0]; k < start[1]; k++) sum += abs(t->weights[k]);
        return sum * top;
    }
    for (size_t s = t->start[tile]; s < t->start[tile + 1]; s++)
        sum += abs(t->weights[2 * (s * ROWS + row)]) + abs(t->weights[2 * (s * ROWS + row) + 1]);
    return sum * top;
}

static int read_matrix(reader *r, matrix *t, int gates, int rows, int columns, int32_t top) {
    plain m = {0};
    const int good = read_shape(r, &m, gates, rows, columns) && read_plain(r, &m, top) && lay_out(r, &m, t);
    free(m.mask);
    free(m.values);
    return good;
}

/* ---- sections ---- */

static int32_t top_of(int bits) { return bits >= 2 && bits <= 16 ? (1 << (bits - 1)) - 1 : 0; }

static int read_requantizer(reader *r, requantizer *q, uint32_t multiplier, int shift) {
    q->multiplier = (int32_t)multiplier, q->shift = shift;
    if (multiplier >> 31 || shift > 46 || (multiplier && !shift)) return fail(r, "damaged requantizer");
    return 1;
}

static int check_multipliers(reader *r, const int32_t *multiplier, int count, int shift) {
    if (shift < 1 || shift > 56) return fail(r, "shift %d is outside 1 to 56", shift);
    for (int i = 0; i < count; i++)
        if (multiplier[i] >= 1 << 30 || multiplier[i] <= -(1 << 30)) return fail(r, "a multiplier is outside 30 bits");
    return 1;
}

/* What accumulators come to must fit into 32 bits, whatever the inputs; then nothing later needs a check. */
static int check_gates(reader *r, const lstm_layer *l) {
    const matrix *x = &l->input_matrix, *h = &l->recurrent_matrix;
    for (int i = 0; i < ROWS * x->tiles; i++) {
        const int64_t sum = row_limit(x, i / ROWS, i % ROWS, l->input_top) * abs(l->along[i]) +
                            row_limit(h, i / ROWS, i % ROWS, l->output_top) * abs(l->back[i]);
        const int64_t bias = l->bias[i] < 0 ? -(int64_t)l->bias[i] : l->bias[i];
        if ((sum >> l->shift) + bias + 1 >= INT64_C(1) << 31) return fail(r, "a gate can exceed 32 bits");
    }
    return 1;
}

static int read_input(reader *r, fp_model *m) {
    const uint8_t *p = take(r, 8);
    if (!p) return 0;
    m->dim = u16(p), m->left = p[2], m->right = p[3], m->input_top = top_of(p[4]);
    if (!m->dim || !m->input_top) return fail(r, "%d features of %d bits", m->dim, p[4]);
    return (m->mean = floats(r, m->dim)) && (m->gain = floats(r, m->dim));
}

static int read_lstm(reader *r, lstm_layer *l, int inputs, int32_t given_top) {
    const uint8_t *p = take(r, 16);
    if (!p) return 0;
    l->cells = u16(p), l->padded = (l->cells + 1) / 2 * 2;
    l->input_top = top_of(p[2]), l->output_top = top_of(p[3]), l->shift = p[4];
    const uint32_t out = u32(p + 12);
    if (!l->cells || !l->input_top || !l->output_top || !out || out >> 31) return fail(r, "damaged sizes");
    if (!read_requantizer(r, &l->input, u32(p + 8), p[5])) return 0;
    if (!l->input.multiplier && l->input_top != given_top) return fail(r, "inputs of other bits than come in");
    l->out_multiplier = (int32_t)out;
    const int count = ROWS * tiles_of(GATES, l->cells);
    return (l->along = ints(r, GATES, l->cells)) && (l->back = ints(r, GATES, l->cells)) &&
           (l->bias = ints(r, GATES, l->cells)) && check_multipliers(r, l->along, count, l->shift) &&
           check_multipliers(r, l->back, count, l->shift) &&
           read_matrix(r, &l->input_matrix, GATES, l->cells, inputs, l->input_top) &&
           read_matrix(r, &l->recurrent_matrix, GATES, l->cells, l->cells, l->output_top) && check_gates(r, l);
}

static int read_head(reader *r, fp_model *m, int inputs, int32_t given_top) {
    const uint8_t *p = take(r, 12);
    if (!p) return 0;
    m->outputs = u16(p), m->padded_outputs = (m->outputs + ROWS - 1) / ROWS * ROWS;
    m->head_top = top_of(p[2]), m->head_shift = p[3];
    if (!m->outputs || !m->head_top) return fail(r, "damaged sizes");
    if (!read_requantizer(r, &m->head_input, u32(p + 8), p[4])) return 0;
    if (!m->head_input.multiplier && m->head_top != given_top) return fail(r, "inputs of other bits than come in");
    return (m->multiplier = ints(r, 1, m->outputs)) && (m->head_bias = ints(r, 1, m->outputs)) &&
           take(r, (size_t)4 * m->outputs) && check_multipliers(r, m->multiplier, m->outputs, m->head_shift) &&
           read_matrix(r, &m->head, 1, m->outputs, inputs, m->head_top);
}

static int is_next(const reader *r, const char *tag) { return r->end - r->at >= 4 && !memcmp(r->at, tag, 4); }

/* The next section, which must be `tag`: `piece` is its body. */
static int section(reader *r, const char *tag, reader *piece) {
    const uint8_t *p = take(r, 8), *body;
    if (!p) return 0;
    if (memcmp(p, tag, 4)) return fail(r, "section %.4s expected", tag);
    const uint32_t size = u32(p + 4);
    if (!(body = take(r, size)) || !take(r, -size % 4)) return 0;
    *piece = (reader){body, body + size, r->error, r->error_size};
    return 1;
}

static int ended(reader *r) { return r->at == r->end ? 1 : fail(r, "%zu bytes too many", (size_t)(r->end - r->at)); }

static int read_all(reader *r, fp_model *m, size_t size) {
    const uint8_t *p = take(r, 20);
    reader piece;
    if (!p || memcmp(p, "FPRESS\r\n", 8)) return fail(r, "not a packed model");
    const uint32_t version = u16(p + 8);
    if (version != VERSION && version != VERSION_OF_RUNS)
        return fail(r, "version %u of the format, this program reads %d and %d", version, VERSION, VERSION_OF_RUNS);
    if (u32(p + 12) != size || u32(p + 16) != crc32_of(p + 20, size - 20))
        return fail(r, "damaged: its length or checksum is wrong");
    const int32_t sections = (int32_t)u16(p + 10);
    if (sections < 4 || sections > MAX_LAYERS + 4) return fail(r, "%d sections", sections);
    if (!section(r, "META", &piece) || !section(r, "FEAT", &piece) || !read_input(&piece, m) || !ended(&piece)) return 0;
    int width = (m->left + 1 + m->right) * m->dim;
    int32_t top = m->input_top;
    do {
        if (m->layers == MAX_LAYERS) return fail(r, "more than %d layers", MAX_LAYERS);
        lstm_layer *l = &m->layer[m->layers++];
        if (!section(r, "LSTM", &piece) || !read_lstm(&piece, l, width, top) || !ended(&piece)) return 0;
        width = l->cells, top = l->output_top;
    } while (is_next(r, "LSTM"));
    if (!section(r, "HEAD", &piece) || !read_head(&piece, m, width, top) || !ended(&piece)) return 0;
    /* The front end is not the network's business: its frame is checked, what is in it is not looked at. */
    const int front = is_next(r, "FRNT");
    if (front && !section(r, "FRNT", &piece)) return 0;
    if (sections != m->layers + 3 + front) return fail(r, "%d sections, its header says %d", m->layers + 3 + front, sections);
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
    fp_model *m = array(&r, 1, sizeof *m);
    if (!m) return NULL;
    if (!read_all(&r, m, size)) {
        fp_model_free(m);
        return NULL;
    }
    fill_table(m->sigmoid);
    m->level = fp_best_level();
    return m;
}

static void free_matrix(matrix *t) {
    free(t->start);
    free(t->column);
    free(t->weights);
}

void fp_model_free(fp_model *m) {
    if (!m) return;
    for (int i = 0; i < m->layers; i++) {
        lstm_layer *l = &m->layer[i];
        free(l->along);
        free(l->back);
        free(l->bias);
        free_matrix(&l->input_matrix);
        free_matrix(&l->recurrent_matrix);
    }
    free_matrix(&m->head);
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

static int64_t macs(const matrix *t) {
    return t->single ? t->start[ROWS * t->tiles] : (int64_t)2 * ROWS * t->start[t->tiles];
}

static int64_t bytes(const matrix *t) {
    return t->single ? 3 * macs(t) + 4 * ROWS * (int64_t)t->tiles : macs(t) / (2 * ROWS) * (2 * ROWS + 2);
}

static int64_t over_all(const fp_model *m, int64_t (*of)(const matrix *)) {
    int64_t total = of(&m->head);
    for (int i = 0; i < m->layers; i++) total += of(&m->layer[i].input_matrix) + of(&m->layer[i].recurrent_matrix);
    return total;
}

int64_t fp_model_macs(const fp_model *m) { return over_all(m, macs); }
int64_t fp_model_bytes(const fp_model *m) { return over_all(m, bytes); }
