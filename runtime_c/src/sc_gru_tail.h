/* GRU with linear_before_reset = 1: from accumulators to the state, unit by unit. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef SC_GRU_TAIL_H
#define SC_GRU_TAIL_H

#include "sc_rows.h"

static inline int32_t gate(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                           unsigned row)
{
    return sc_joint(acc->input[row], acc->recurrent[row], SC_READ32(multipliers + row), layer->input_shift,
                    layer->recurrent_shift, layer->post);
}

static inline void sc_gru_units(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                                unsigned units, int16_t *h)
{
    const unsigned candidates = 2 * sc_next_pass(units, layer->grain);
    for (unsigned u = 0; u < units; ++u) {
        const int32_t z = sc_sigmoid1(gate(layer, acc, multipliers, 2 * u));
        const int32_t r = sc_sigmoid1(gate(layer, acc, multipliers, 2 * u + 1));
        const unsigned row = candidates + u;
        const uint32_t m = SC_READ32(multipliers + row);
        /* |px| <= 2^29: not saturated alone, but with what the reset gate lets through */
        const int32_t px = sc_round((acc->input[row] >> layer->input_shift) * (int32_t)(m & 0xffffu),
                                    layer->candidate_input);
        const int32_t ph = sc_round((acc->recurrent[row] >> layer->recurrent_shift) * (int32_t)(m >> 16),
                                    layer->candidate_recurrent);
        const int32_t n = sc_tanh1(sc_sat16(px + sc_mul15(r, sc_sat16(ph))));
        /* |z * (h - n)| <= 32767 * 65535 < 2^31 - 2^14 */
        h[u] = (int16_t)(n + sc_mul15(z, h[u] - n));
    }
}

#endif
