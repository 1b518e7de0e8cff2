/* The AVX-512 kernels with each of their instructions computed in C, from Intel's description of it, for machines without. */
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define VNNI __attribute__((target("avx2"))) /* for halves of registers */
#define VBMI

typedef struct { union { int32_t d[16]; int16_t w[32]; int8_t b[64]; uint8_t u[64]; }; } register512;

static register512 made_load(const void *p) {
    register512 r;
    memcpy(&r, p, sizeof r);
    return r;
}

static void made_store(void *p, register512 r) { memcpy(p, &r, sizeof r); }

static register512 made_set1(int32_t x) {
    register512 r;
    for (int k = 0; k < 16; k++) r.d[k] = x;
    return r;
}

static register512 made_zero(void) { return made_set1(0); }

static register512 made_add(register512 a, register512 b) {
    for (int k = 0; k < 16; k++) a.d[k] += b.d[k];
    return a;
}

static register512 made_srai(register512 a, int shift) {
    for (int k = 0; k < 32; k++) a.w[k] = (int16_t)(a.w[k] >> shift);
    return a;
}

static register512 made_vpermw(register512 control, register512 a) {
    register512 r;
    for (int k = 0; k < 32; k++) r.w[k] = a.w[control.w[k] & 31];
    return r;
}

static register512 made_vpermi2w(register512 a, register512 control, register512 b) {
    register512 r;
    for (int k = 0; k < 32; k++) r.w[k] = (control.w[k] & 32 ? b : a).w[control.w[k] & 31];
    return r;
}

static register512 made_vpermb(register512 control, register512 a) {
    register512 r;
    for (int k = 0; k < 64; k++) r.b[k] = a.b[control.b[k] & 63];
    return r;
}

static register512 made_vpdpwssd(register512 sum, register512 a, register512 b) {
    for (int k = 0; k < 32; k++) sum.d[k / 2] += a.w[k] * b.w[k];
    return sum;
}

VNNI static register512 made_widened(__m256i a) {
    int8_t bytes[32];
    register512 r;
    memcpy(bytes, &a, sizeof bytes);
    for (int k = 0; k < 32; k++) r.w[k] = bytes[k];
    return r;
}

static register512 made_vpdpbusd(register512 sum, register512 a, register512 b) {
    for (int k = 0; k < 64; k++) sum.d[k / 4] += a.u[k] * b.b[k];
    return sum;
}

#define __m512i register512
#define _mm512_loadu_si512 made_load
#define _mm512_storeu_si512 made_store
#define _mm512_set1_epi32 made_set1
#define _mm512_setzero_si512 made_zero
#define _mm512_add_epi32 made_add
#define _mm512_srai_epi16 made_srai
#define _mm512_permutexvar_epi16 made_vpermw
#define _mm512_permutex2var_epi16 made_vpermi2w
#define _mm512_permutexvar_epi8 made_vpermb
#define _mm512_dpwssd_epi32 made_vpdpwssd
#define _mm512_dpbusd_epi32 made_vpdpbusd
#define _mm512_cvtepi8_epi16 made_widened
#define fp_windows_product windows_of_level
#define fp_bytes_product bytes_of_level
#define fp_pairs_product pairs_of_level
#define fp_pairs_moved pairs_moved_of_level
#include "windows.c"
#include "bytes.c"
#include "pairs.c"
#undef fp_windows_product
#undef fp_bytes_product
#undef fp_pairs_product
#undef fp_pairs_moved

/* Whatever the level is. */
product fp_windows_product(int32_t level) { return level == FP_PORTABLE ? windows_of_level(level) : windows_vnni; }
product fp_bytes_product(int32_t level) { return level == FP_PORTABLE ? bytes_of_level(level) : bytes_vnni; }
product fp_pairs_product(int32_t level) { return level == FP_PORTABLE ? pairs_of_level(level) : vnni; }
add_moves *fp_pairs_moved(int32_t level) { return level == FP_PORTABLE ? pairs_moved_of_level(level) : vnni_moved; }
