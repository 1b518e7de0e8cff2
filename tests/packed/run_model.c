/* Frames through a packed model: run_model LEVEL MODEL < features > logits, float32 in, int32 out, as bytes; first the level. */
#include <stdio.h>
#include <stdlib.h>

#include "press.h"

enum { LARGEST = 1 << 22, MOST = 64 /* frames */ };

int main(int count, char **arguments) {
    static uint8_t bytes[LARGEST];
    char error[160] = "";
    FILE *file = count == 3 ? fopen(arguments[2], "rb") : NULL;
    const size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    fp_model *model = fp_model_read(bytes, size, error, sizeof error);
    if (!model) return fprintf(stderr, "%s\n", error), 1;
    const int32_t level = fp_model_level(model, atoi(arguments[1]));
    const size_t dim = (size_t)fp_model_dim(model), outputs = (size_t)fp_model_outputs(model);
    float *feats = malloc(MOST * dim * sizeof *feats);
    int32_t *logits = malloc(MOST * outputs * sizeof *logits);
    fp_stream *stream = fp_stream_new(model);
    const int64_t frames = (int64_t)(fread(feats, sizeof *feats, MOST * dim, stdin) / dim);
    int64_t done = fp_stream_push(stream, feats, frames, logits);
    done += fp_stream_finish(stream, logits + done * (int64_t)outputs);
    fwrite(&level, sizeof level, 1, stdout);
    fwrite(logits, sizeof *logits, (size_t)done * outputs, stdout);
    fp_stream_free(stream);
    fp_model_free(model);
    free(feats);
    free(logits);
    return 0;
}
