/* AVX2, compiled for processors that may lack it. SPDX-License-Identifier: Apache-2.0
 *
 * Each function that is replaced is there twice, as SC_AVX2 and in portable C, and asks sc_has_avx2() at
 * every call: one load and one bit, which libgcc or compiler-rt sets before main. What is compiled with
 * -mavx2 or -march=native does not ask.
 */
#ifndef SC_AVX2_H
#define SC_AVX2_H

#include <immintrin.h>
#include <string.h>

#include "stepcell.h"

#ifdef __AVX2__
#define SC_AVX2
#define sc_has_avx2() 1
#else
#define SC_AVX2 __attribute__((target("avx2")))
#define sc_has_avx2() __builtin_cpu_supports("avx2")
#endif

SC_AVX2 static inline __m256i sc_load256(const void *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

SC_AVX2 static inline void sc_store256(void *to, __m256i v)
{
    _mm256_storeu_si256((__m256i *)to, v);
}

/* Four bytes, as often as they fit. */
SC_AVX2 static inline __m256i sc_repeat4(const int8_t *from)
{
    int32_t bits;
    memcpy(&bits, from, sizeof bits);
    return _mm256_set1_epi32(bits);
}

/* Four bytes made halfwords, as often as they fit. */
SC_AVX2 static inline __m256i sc_repeat4_wide(const int8_t *from)
{
    int32_t bits;
    memcpy(&bits, from, sizeof bits);
    return _mm256_cvtepi8_epi16(_mm_set1_epi32(bits));
}

/* Four halfwords, as often as they fit. */
SC_AVX2 static inline __m256i sc_repeat8(const int16_t *from)
{
    int64_t bits;
    memcpy(&bits, from, sizeof bits);
    return _mm256_set1_epi64x(bits);
}

#endif
