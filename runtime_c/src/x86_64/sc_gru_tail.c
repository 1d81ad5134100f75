/* GRU with linear_before_reset = 1: from accumulators to the state, eight units at a time.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sc_gru_tail.h"
#include "sc_isa.h"
#ifdef SC_HAS_GRU_TAIL
#include "sc_tail_avx2.h"

/* z r of four units. */
SC_AVX2 static inline __m256i gates(const sc_gru_layer *layer, const sc_pass *acc,
                                    const uint32_t *multipliers, unsigned row)
{
    return sc_sigmoid8(sc_joint8(acc->input + row, acc->recurrent + row, multipliers + row,
                                 layer->input_shift, layer->recurrent_shift, layer->post));
}

/* Lanes 0 2 4 6 of a, then of b; from a 32-bit lane higher on if `odd`. */
SC_AVX2 static inline __m256i every_second(__m256i a, __m256i b, int odd)
{
    const __m256i low = odd ? _mm256_srli_epi64(a, 32) : a, high = odd ? b : _mm256_slli_epi64(b, 32);
    const __m256i mixed = _mm256_blend_epi32(low, high, 0xaa); /* a0 b0 a1 b1 a2 b2 a3 b3 */
    return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

SC_AVX2 static void eight_units(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                                int16_t *h)
{
    const __m256i first = gates(layer, acc, multipliers, 0), last = gates(layer, acc, multipliers, 8);
    const __m256i z = every_second(first, last, 0), r = every_second(first, last, 1);
    const __m256i m = sc_load256(multipliers + 16);
    const __m256i ax = sc_shifted8(sc_load256(acc->input + 16), layer->input_shift);
    const __m256i ah = sc_shifted8(sc_load256(acc->recurrent + 16), layer->recurrent_shift);
    /* |px| <= 2^29: not saturated alone, but with what the reset gate lets through */
    const __m256i px =
        sc_round8(sc_times8(ax, _mm256_and_si256(m, _mm256_set1_epi32(0xffff))), layer->candidate_input);
    const __m256i ph =
        sc_sat16x8(sc_round8(sc_times8(ah, _mm256_srli_epi32(m, 16)), layer->candidate_recurrent));
    const __m256i n = sc_tanh8(sc_sat16x8(_mm256_add_epi32(px, sc_mul15x8(ph, r))));
    /* |z * (h - n)| <= 32767 * 65535 < 2^31 - 2^14 */
    const __m256i kept = _mm256_mullo_epi32(z, _mm256_sub_epi32(sc_load16x8(h), n));
    sc_store16x8(h, _mm256_add_epi32(n, sc_round8(kept, (sc_shift){16384, 15})));
}

void sc_gru_tail(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                 int16_t *h)
{
    if (units == 8 && sc_has_avx2())
        eight_units(layer, acc, multipliers, h);
    else
        sc_gru_units(layer, acc, multipliers, units, h);
}
#endif
