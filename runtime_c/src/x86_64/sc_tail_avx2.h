/* The scalar arithmetic of sc_arithmetic.h for eight lanes of 32 bits. SPDX-License-Identifier: Apache-2.0
 *
 * VPMADDWD multiplies: the sum of the products of the halfwords of each lane, exact. Where a lane holds a
 * 16-bit value v and the other factor's upper halfword is 0, that is v times its lower one.
 */
#ifndef SC_TAIL_AVX2_H
#define SC_TAIL_AVX2_H

#include "sc_arithmetic.h"
#include "sc_avx2.h"

/* v >> shift, arithmetic; shifts by a whole register's value come from `by`. */
SC_AVX2 static inline __m256i sc_shifted8(__m256i v, unsigned shift)
{
    return _mm256_sra_epi32(v, _mm_cvtsi32_si128((int)shift));
}

SC_AVX2 static inline __m256i sc_round8(__m256i v, sc_shift by)
{
    return sc_shifted8(_mm256_add_epi32(v, _mm256_set1_epi32(by.half)), by.shift);
}

SC_AVX2 static inline __m256i sc_sat16x8(__m256i v)
{
    return _mm256_max_epi32(_mm256_min_epi32(v, _mm256_set1_epi32(INT16_MAX)), _mm256_set1_epi32(INT16_MIN));
}

/* a * b of 16-bit lanes, b at least 0. */
SC_AVX2 static inline __m256i sc_times8(__m256i a, __m256i b)
{
    return _mm256_madd_epi16(a, b);
}

/* The lane's lower halfword from `low`, its upper one from `high`'s lower one. */
SC_AVX2 static inline __m256i sc_pairs8(__m256i low, __m256i high)
{
    return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa);
}

/* sc_joint: both shifted accumulators fit 16 bits, and their multipliers lie side by side. */
SC_AVX2 static inline __m256i sc_joint8(const int32_t *ax, const int32_t *ah, const uint32_t *multipliers,
                                        unsigned input_shift, unsigned recurrent_shift, sc_shift post)
{
    const __m256i x = sc_shifted8(sc_load256(ax), input_shift);
    const __m256i h = sc_shifted8(sc_load256(ah), recurrent_shift);
    return sc_sat16x8(sc_round8(_mm256_madd_epi16(sc_pairs8(x, h), sc_load256(multipliers)), post));
}

SC_AVX2 static inline __m256i sc_sigmoid8(__m256i p)
{
    const __m256i index = _mm256_srai_epi32(p, 8);
    const __m256i line = _mm256_i32gather_epi32((const int *)sc_sigmoid_table + 128, index, 4);
    const __m256i rise = _mm256_srli_epi32(line, 16);
    const __m256i low = _mm256_and_si256(line, _mm256_set1_epi32(0xffff));
    const __m256i product = _mm256_add_epi32(sc_times8(p, rise), _mm256_set1_epi32(128));
    return _mm256_add_epi32(low, _mm256_srai_epi32(product, 8));
}

/* sat16(2 p): what tanh asks sigmoid for. */
SC_AVX2 static inline __m256i sc_twice8(__m256i p)
{
    return sc_sat16x8(_mm256_add_epi32(p, p));
}

/* 2 s - 32768: what tanh makes of the answer. */
SC_AVX2 static inline __m256i sc_centred8(__m256i s)
{
    return _mm256_sub_epi32(_mm256_add_epi32(s, s), _mm256_set1_epi32(32768));
}

SC_AVX2 static inline __m256i sc_tanh8(__m256i p)
{
    return sc_centred8(sc_sigmoid8(sc_twice8(p)));
}

/* sc_mul15, b at least 0. */
SC_AVX2 static inline __m256i sc_mul15x8(__m256i a, __m256i b)
{
    return _mm256_srai_epi32(_mm256_add_epi32(sc_times8(a, b), _mm256_set1_epi32(16384)), 15);
}

SC_AVX2 static inline __m256i sc_load16x8(const int16_t *from)
{
    return _mm256_cvtepi16_epi32(_mm_loadu_si128((const __m128i *)from));
}

/* Lanes that fit 16 bits. */
SC_AVX2 static inline void sc_store16x8(int16_t *to, __m256i v)
{
    const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((__m128i *)to, packed);
}

#endif
