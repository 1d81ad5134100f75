/* LSTM: from accumulators to the state, eight units at a time. SPDX-License-Identifier: Apache-2.0 */
#include "sc_lstm_tail.h"
#include "sc_isa.h"
#ifdef SC_HAS_LSTM_TAIL
#include "sc_tail_avx2.h"

/* The gates i o f g of two units; g, in lanes 3 and 7, takes a tanh. */
SC_AVX2 static inline __m256i gates(const sc_lstm_layer *layer, const sc_pass *acc,
                                    const uint32_t *multipliers, unsigned row)
{
    const __m256i p = sc_joint8(acc->input + row, acc->recurrent + row, multipliers + row, layer->input_shift,
                                layer->recurrent_shift, layer->post);
    const __m256i s = sc_sigmoid8(_mm256_blend_epi32(p, sc_twice8(p), 0x88));
    return _mm256_blend_epi32(s, sc_centred8(s), 0x88);
}

/* c' as a table argument, Q4.11. */
SC_AVX2 static inline __m256i cell_argument8(__m256i c, unsigned cell_bits)
{
    if (cell_bits >= 11)
        return sc_round8(c, (sc_shift){(1 << (cell_bits - 11)) >> 1, (uint8_t)(cell_bits - 11)});
    return sc_sat16x8(_mm256_sll_epi32(c, _mm_cvtsi32_si128(11 - (int)cell_bits))); /* |c| * 2^11 <= 2^26 */
}

SC_AVX2 static void eight_units(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                                int16_t *h, int16_t *c)
{
    const __m256i g0 = gates(layer, acc, multipliers, 0), g1 = gates(layer, acc, multipliers, 8);
    const __m256i g2 = gates(layer, acc, multipliers, 16), g3 = gates(layer, acc, multipliers, 24);
    /* one vector a gate; its lanes are units 0 2 4 6 1 3 5 7 */
    const __m256i io01 = _mm256_unpacklo_epi32(g0, g1), io23 = _mm256_unpacklo_epi32(g2, g3);
    const __m256i fg01 = _mm256_unpackhi_epi32(g0, g1), fg23 = _mm256_unpackhi_epi32(g2, g3);
    const __m256i i = _mm256_unpacklo_epi64(io01, io23), o = _mm256_unpackhi_epi64(io01, io23);
    const __m256i f = _mm256_unpacklo_epi64(fg01, fg23), g = _mm256_unpackhi_epi64(fg01, fg23);
    const __m256i there = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
    const __m256i back = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);

    const unsigned cell_bits = layer->cell_bits;
    const sc_shift fresh = {(int32_t)((UINT32_C(1) << (15 - cell_bits)) >> 1), (uint8_t)(15 - cell_bits)};
    const __m256i before = _mm256_permutevar8x32_epi32(sc_load16x8(c), there);
    const __m256i sum = _mm256_add_epi32(sc_times8(before, f), sc_round8(sc_times8(g, i), fresh));
    const __m256i next = sc_sat16x8(sc_round8(sum, (sc_shift){16384, 15}));
    const __m256i out = sc_mul15x8(sc_tanh8(cell_argument8(next, cell_bits)), o);
    sc_store16x8(c, _mm256_permutevar8x32_epi32(next, back));
    sc_store16x8(h, _mm256_permutevar8x32_epi32(out, back));
}

void sc_lstm_tail(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                  int16_t *h, int16_t *c)
{
    if (units == 8 && sc_has_avx2())
        eight_units(layer, acc, multipliers, h, c);
    else
        sc_lstm_units(layer, acc, multipliers, units, h, c);
}
#endif
