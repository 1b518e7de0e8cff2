/* Reads mutated packed files and runs those that are accepted: fuzz COUNT SEED FILE... Build with a sanitizer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "press.h"

enum { LARGEST = 1 << 20, FRAMES = 3 };

static uint64_t state;

static uint32_t draw(uint32_t below) { /* xorshift64* */
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (uint32_t)((state * UINT64_C(2685821657736338717) >> 32) % below);
}

static void put32(uint8_t *p, uint32_t x) {
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(x >> 8 * i);
}

/* With the right length and checksum a mutation gets past the door. */
static void seal(uint8_t *data, size_t size) {
    if (size < 20) return;
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 20; i < size; i++) {
        crc ^= data[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    put32(data + 12, (uint32_t)size);
    put32(data + 16, ~crc);
}

static size_t mutate(uint8_t *data, size_t size) {
    static const uint8_t telling[] = {0, 1, 2, 7, 8, 9, 16, 17, 31, 56, 57, 127, 128, 255};
    for (uint32_t left = 1 + draw(4); left && size; left--) {
        const size_t place = draw(3) ? draw((uint32_t)size) : draw(size < 400 ? (uint32_t)size : 400);
        switch (draw(8)) {
        case 0: data[place] = (uint8_t)draw(256); break;
        case 1: data[place] ^= (uint8_t)(1 << draw(8)); break;
        case 2: case 3: data[place] = telling[draw(sizeof telling)]; break;
        case 4: size = draw(16) ? size : place; break;
        case 5: for (size_t i = place; i < size && i < place + 4; i++) data[i] = (uint8_t)draw(256); break;
        case 6: for (size_t i = place; i < size && i < place + 4; i++) data[i] = 0xFF; break;
        default:
            if (size + 4 < LARGEST && !draw(8)) {
                memmove(data + place + 4, data + place, size - place);
                size += 4;
            }
        }
    }
    return size;
}

static void run(fp_model *model) {
    static float feats[65536 * FRAMES];
    const int32_t dim = fp_model_dim(model), outputs = fp_model_outputs(model);
    for (int i = 0; i < dim * FRAMES; i++) /* half of them as in the frame before */
        feats[i] = i < dim || draw(2) ? (float)(int32_t)draw(2000) - 1000.0f : feats[i - dim];
    fp_model_level(model, (int32_t)draw(5));
    fp_stream *stream = fp_stream_new(model);
    int32_t *logits = malloc(((size_t)FRAMES + (size_t)fp_model_delay(model)) * (size_t)outputs * sizeof *logits);
    if (stream && logits) {
        const int64_t done = fp_stream_push(stream, feats, FRAMES, logits);
        fp_stream_finish(stream, logits + done * outputs);
    }
    free(logits);
    fp_stream_free(stream);
}

int main(int count, char **arguments) {
    static uint8_t whole[LARGEST], *data;
    long accepted = 0, total = 0;
    if (count < 4) return 2;
    state = strtoull(arguments[2], NULL, 10) * 2 + 1;
    for (int k = 3; k < count; k++) {
        FILE *file = fopen(arguments[k], "rb");
        const size_t size = file ? fread(whole, 1, sizeof whole, file) : 0;
        if (!size || !(data = malloc(LARGEST))) return 2;
        fclose(file);
        for (long left = atol(arguments[1]); left; left--, total++) {
            memcpy(data, whole, size);
            const size_t length = mutate(data, size);
            if (draw(10)) seal(data, length);
            /* A block of its own size, so that a read past the end is seen. */
            uint8_t *tight = malloc(length ? length : 1);
            memcpy(tight, data, length);
            char error[160] = "";
            fp_model *model = fp_model_read(tight, length, error, sizeof error);
            free(tight);
            if (!model && !error[0]) return printf("refused without a word\n"), 1;
            if (model) accepted++, run(model);
            fp_model_free(model);
        }
        free(data);
    }
    printf("%ld files, %ld accepted\n", total, accepted);
    return 0;
}
