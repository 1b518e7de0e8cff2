/* What the machine does at best, for the benchmark to hold the runtime against. Not needed to run a model. */
#include <stddef.h>
#include <stdint.h>

#include "press.h"

/* `rounds` rounds of multiplying pairs of 16-bit numbers into sums of 32 bits, all of them in registers, with the
 * widest instructions of `level`. Returns how many multiply-accumulates that were. */
int64_t fp_limit_macs(int32_t level, int64_t rounds);

/* Read a multiple of 256 bytes, at most `bytes`, `times` times over; returns what they add up to. */
uint64_t fp_limit_read(int32_t level, const void *buffer, size_t bytes, int64_t times);

enum { WIDTH = 64 };

static volatile int32_t sink;

#if defined(__GNUC__)
#define OPAQUE(V, KIND) __asm__("" : "+" KIND(V)) /* the compiler must not know that it is the same as before */
#define TOUCHED __asm__ volatile("" ::: "memory")
#else
#define TOUCHED
#endif

int16_t fp_limit_a[WIDTH], fp_limit_b[WIDTH]; /* not static, so that they count as unknown */

/* Here the numbers come from the nearest memory: plain C knows no registers. */
static int64_t macs_portable(int64_t rounds) {
    int32_t sums[WIDTH] = {0};
    for (int64_t n = 0; n < rounds; n++) {
        TOUCHED;
        for (int k = 0; k < WIDTH; k++) sums[k] += fp_limit_a[k] * fp_limit_b[k];
    }
    for (int k = 0; k < WIDTH; k++) sink = sums[k];
    return rounds * WIDTH;
}

static uint64_t read_portable(const void *buffer, size_t bytes) {
    const uint64_t *p = buffer, *end = p + bytes / 256 * 32;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    for (; p < end; p += 4) a += p[0], b += p[1], c += p[2], d += p[3];
    return a + b + c + d;
}

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define X86 1

#define READ(NAME, TARGET, V, STEP, LOAD, ADD)                                                                         \
    TARGET static uint64_t NAME(const void *buffer, size_t bytes) {                                                    \
        const char *p = buffer, *end = p + bytes / 256 * 256;                                                          \
        V a = {0}, b = a, c = a, d = a;                                                                                \
        for (; p < end; p += 4 * STEP) {                                                                               \
            a = ADD(a, LOAD((const void *)p)), b = ADD(b, LOAD((const void *)(p + STEP)));                             \
            c = ADD(c, LOAD((const void *)(p + 2 * STEP))), d = ADD(d, LOAD((const void *)(p + 3 * STEP)));            \
        }                                                                                                              \
        const V sum = ADD(ADD(a, b), ADD(c, d));                                                                       \
        uint64_t total = 0;                                                                                            \
        for (int k = 0; k < STEP / 8; k++) total += (uint64_t)sum[k];                                                  \
        return total;                                                                                                  \
    }

/* SUMS: so many that none is waited for, and so few that they stay in registers. */
#define MACS(NAME, TARGET, V, STEP, SUMS, KIND, DOT)                                                                   \
    TARGET static int64_t NAME(int64_t rounds) {                                                                       \
        V sums[SUMS] = {{0}}, a = {0};                                                                                 \
        for (int64_t n = 0; n < rounds; n++) {                                                                         \
            _Pragma("GCC unroll 12") for (int k = 0; k < SUMS; k++) {                                                  \
                OPAQUE(a, KIND);                                                                                       \
                sums[k] = DOT(sums[k], a, a);                                                                          \
            }                                                                                                          \
        }                                                                                                              \
        for (int k = 0; k < SUMS; k++) sink = (int32_t)sums[k][0];                                                     \
        return rounds * SUMS * (STEP / 2);                                                                             \
    }

#define AVX2 __attribute__((target("avx2")))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,prefer-vector-width=512")))
#define DOT_AVX2(S, A, B) _mm256_add_epi32(S, _mm256_madd_epi16(A, B))

READ(read_avx2, AVX2, __m256i, 32, _mm256_loadu_si256, _mm256_add_epi64)
READ(read_vnni, VNNI, __m512i, 64, _mm512_loadu_si512, _mm512_add_epi64)
MACS(macs_avx2, AVX2, __m256i, 32, 6, "x", DOT_AVX2)
MACS(macs_vnni, VNNI, __m512i, 64, 12, "v", _mm512_dpwssd_epi32)
#endif

int64_t fp_limit_macs(int32_t level, int64_t rounds) {
#ifdef X86
    if (level == FP_AVX512_VNNI) return macs_vnni(rounds);
    if (level == FP_AVX2) return macs_avx2(rounds);
#endif
    (void)level;
    return macs_portable(rounds);
}

uint64_t fp_limit_read(int32_t level, const void *buffer, size_t bytes, int64_t times) {
    uint64_t (*read)(const void *, size_t) = read_portable;
#ifdef X86
    if (level == FP_AVX2) read = read_avx2;
    if (level == FP_AVX512_VNNI) read = read_vnni;
#endif
    (void)level;
    uint64_t sum = 0;
    for (int64_t n = 0; n < times; n++) {
        TOUCHED;
        sum += read(buffer, bytes);
    }
    return sum;
}
