/* French Press runtime: a packed LSTM acoustic model in integers. docs/packed_model.md describes file and arithmetic.
 *
 * A model is read-only once read and may serve any number of streams in any number of threads; a stream belongs to one
 * thread at a time. Nothing here prints, exits, or reads outside of what it is given.
 */
#ifndef FRENCHPRESS_PRESS_H
#define FRENCHPRESS_PRESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fp_model fp_model;
typedef struct fp_stream fp_stream;

/* Instruction sets, each giving the same bits. Compiled with FP_NO_VECTORS there is the first one alone. */
enum { FP_PORTABLE = 0, FP_AVX2 = 1, FP_AVX512_VNNI = 2, FP_NEON = 3, FP_NEON_DOT = 4 };

/* The model in `size` bytes of a packed file, which may be freed after. NULL, with a line in `error`, when damaged. */
fp_model *fp_model_read(const uint8_t *bytes, size_t size, char *error, size_t error_size);
void fp_model_free(fp_model *model);

int32_t fp_model_dim(const fp_model *model);      /* features per frame */
int32_t fp_model_outputs(const fp_model *model);  /* logits per frame */
int32_t fp_model_delay(const fp_model *model);    /* frames that a stream looks ahead */
int64_t fp_model_macs(const fp_model *model);     /* multiply-accumulates per frame, padding included */
int64_t fp_model_bytes(const fp_model *model);    /* memory that the weights and their places take */

/* Best instruction set of this machine; `fp_model_level` sets a lower one and returns what is in use. */
int32_t fp_best_level(void);
int32_t fp_model_level(fp_model *model, int32_t level);

/* A stream at the start of an utterance; NULL when out of memory. */
fp_stream *fp_stream_new(const fp_model *model);
void fp_stream_free(fp_stream *stream);
void fp_stream_reset(fp_stream *stream);

/* Take `frames` frames of features float32 [frames][dim] and write the logits that are ready, int32 [..][outputs] with
 * 16 fraction bits: at most `frames` of them. Returns how many. */
int64_t fp_stream_push(fp_stream *stream, const float *feats, int64_t frames, int32_t *logits);

/* The utterance is over: the logits of the last `fp_model_delay` frames (of fewer when it was shorter). Returns how
 * many; the stream is then at the start of the next one. */
int64_t fp_stream_finish(fp_stream *stream, int32_t *logits);

#ifdef __cplusplus
}
#endif
#endif
