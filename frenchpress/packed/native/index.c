/* Which weights are kept: the three kinds of index that a mask can have. */
#include <stdlib.h>
#include <string.h>

#include "reader.h"

enum { WIDEST_RUN = 16, WIDEST_NUMBER = 62, LARGEST_BLOCK = 1 << 16 };

static int bit_length(uint64_t x) {
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
            const int number = (int)next_bits(b, width);
            if (number <= last || number >= blocks) return 0;
            last = number;
        }
        for (int64_t k = 0; k < kept; k++) {
            const int left = (int)next_bits(&numbers, width) * block;
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
        int64_t number;
        do {
            number = next_bits(b, r->width);
            place += number;
            if (number < 0 || place >= size) return 0;
        } while (number == more);
        mask[place++] = 1;
    }
    return 1;
}

static int read_levels(reader *r, plain *m) {
    for (int i = 0; i < m->levels; i++) {
        const uint8_t *p = fp_take(r, 8);
        if (!p) return 0;
        m->level[i] = (level){u16(p), u16(p + 2), u16(p + 4)};
        const level *l = &m->level[i];
        if (!l->block || !l->numerator || l->numerator > l->denominator || (i && l->block > l[-1].block))
            return fp_fail(r, "level of blocks of %u, keeping %u/%u", l->block, l->numerator, l->denominator);
    }
    return 1;
}

static int read_run_sizes(reader *r, plain *m) {
    for (int i = 0; i < m->masks; i++) {
        const uint8_t *p = fp_take(r, 8);
        if (!p) return 0;
        m->runs[i] = (runs){u32(p), p[4]};
        if (m->runs[i].kept > (uint32_t)(m->rows * m->columns) || p[4] < 1 || p[4] > WIDEST_RUN)
            return fp_fail(r, "a mask that keeps %u weights, in runs of %d bits", m->runs[i].kept, p[4]);
    }
    return 1;
}


/* ---- blocks that keep equally many, each by the number of its combination ---- */

static int counted_size(const plain *m, int kind) {
    const int height = kind & 2 ? m->rows % m->counted.height : m->counted.height;
    const int width = kind & 1 ? m->columns % m->counted.width : m->counted.width;
    return height * width; /* 0: there is no such block */
}

static int fewer_of(int size, int kept) { return 2 * kept > size ? size - kept : kept; }

/* C(place, count), at most 2^62, for count 0 to `most` and place 0 to `size`; NULL when out of memory. */
static uint64_t *choices(reader *r, int size, int most) {
    const uint64_t limit = UINT64_C(1) << WIDEST_NUMBER;
    const size_t width = (size_t)size + 1;
    uint64_t *table = fp_array(r, ((size_t)most + 1) * width, sizeof *table);
    for (size_t place = 0; table && place < width; place++) table[place] = 1;
    for (size_t k = width; table && k < ((size_t)most + 1) * width; k++) {
        const uint64_t sum = k % width ? table[k - 1] + table[k - width - 1] : 0;
        table[k] = sum < limit ? sum : limit;
    }
    return table;
}

static int read_counted_head(reader *r, plain *m) {
    const uint8_t *p = fp_take(r, 16);
    if (!p) return 0;
    counted *c = &m->counted;
    *c = (counted){(int)u16(p), (int)u16(p + 2), {(int)u16(p + 4), (int)u16(p + 6), (int)u16(p + 8), (int)u16(p + 10)}};
    if (!c->height || !c->width || c->height > m->rows || c->width > m->columns || c->height * (int64_t)c->width > LARGEST_BLOCK)
        return fp_fail(r, "blocks of %d x %d in a matrix of %d x %d", c->height, c->width, m->rows, m->columns);
    for (int kind = 0; kind < 4; kind++) {
        const int size = counted_size(m, kind), fewer = fewer_of(size, c->count[kind]);
        /* C(size, fewer) is at least 2^fewer. */
        if (fewer < 0 || fewer > WIDEST_NUMBER) return fp_fail(r, "blocks of %d that keep %d", size, c->count[kind]);
        uint64_t *table = choices(r, size, fewer);
        if (!table) return 0;
        const int wide = table[(size_t)(fewer + 1) * (size + 1) - 1] >> WIDEST_NUMBER != 0;
        free(table);
        if (wide) return fp_fail(r, "the number of a block of %d that keeps %d is too long", size, c->count[kind]);
    }
    return 1;
}

/* The places that one block keeps, by its number; 0 when no block has this number. */
static int read_block(bits *b, const plain *m, const uint64_t *table, int kind, uint8_t *corner) {
    const int size = counted_size(m, kind), kept = m->counted.count[kind];
    const int width = kind & 1 ? m->columns % m->counted.width : m->counted.width;
    const uint8_t chosen = 2 * kept <= size; /* otherwise the number is that of the removed places */
    const uint64_t *row = table + (size_t)fewer_of(size, kept) * (size + 1);
    const uint64_t ways = row[size];
    const int64_t number = next_bits(b, bit_length(ways - 1));
    if (number < 0 || (uint64_t)number >= ways) return 0;
    uint64_t rest = (uint64_t)number;
    for (int place = size - 1; place >= 0; place--) {
        /* With none left to choose the rest is 0, and C(place, 0) is 1. */
        const int chooses = rest >= row[place];
        if (chooses) rest -= row[place], row -= size + 1;
        corner[(size_t)(place / width) * m->columns + place % width] = chooses ? chosen : !chosen;
    }
    return 1;
}

static int read_blocks(bits *b, const plain *m, uint64_t *const table[4], uint8_t *mask) {
    const int height = m->counted.height, width = m->counted.width;
    for (int top = 0; top < m->rows; top += height)
        for (int left = 0; left < m->columns; left += width) {
            const int kind = 2 * (top + height > m->rows) + (left + width > m->columns);
            if (!read_block(b, m, table[kind], kind, mask + (size_t)top * m->columns + left)) return 0;
        }
    return 1;
}

/* ---- all of them ---- */

int fp_read_index_head(reader *r, plain *m) {
    if (m->levels == RUNS) return read_run_sizes(r, m);
    return m->levels == COUNTED ? read_counted_head(r, m) : read_levels(r, m);
}

static int read_mask(bits *b, const plain *m, uint64_t *const table[4], int k) {
    uint8_t *mask = m->mask + (size_t)k * m->rows * m->columns;
    if (m->levels == RUNS) return read_runs(b, m, &m->runs[k], mask);
    if (m->levels == COUNTED) return read_blocks(b, m, table, mask);
    return read_index(b, m, mask, m->rows, m->columns, 0);
}

int fp_read_masks(reader *r, bits *b, plain *m) {
    uint64_t *table[4] = {0};
    int good = 1;
    for (int kind = 0; good && m->levels == COUNTED && kind < 4; kind++) {
        const int size = counted_size(m, kind);
        good = (table[kind] = choices(r, size, fewer_of(size, m->counted.count[kind]))) != NULL;
    }
    for (int k = 0; good && k < m->masks; k++)
        if (!read_mask(b, m, table, k)) good = fp_fail(r, "damaged index");
    for (int kind = 0; kind < 4; kind++) free(table[kind]);
    return good;
}
