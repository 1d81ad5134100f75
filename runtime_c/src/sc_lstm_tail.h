/* LSTM: from accumulators to the state, unit by unit. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_LSTM_TAIL_H
#define SC_LSTM_TAIL_H

#include "sc_rows.h"

static inline int32_t gate(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                           unsigned row)
{
    return sc_joint(acc->input[row], acc->recurrent[row], SC_READ32(multipliers + row), layer->input_shift,
                    layer->recurrent_shift, layer->post);
}

/* c' as a table argument, Q4.11. */
static inline int32_t cell_argument(int32_t c, unsigned cell_bits)
{
    if (cell_bits >= 11)
        return sc_round(c, (sc_shift){(1 << (cell_bits - 11)) >> 1, (uint8_t)(cell_bits - 11)});
    return sc_sat16(c * (int32_t)(1 << (11 - cell_bits))); /* |c| * 2^11 <= 2^26 */
}

static inline void sc_lstm_units(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                                 unsigned units, int16_t *h, int16_t *c)
{
    const unsigned cell_bits = layer->cell_bits;
    const sc_shift fresh = {(int32_t)((UINT32_C(1) << (15 - cell_bits)) >> 1), (uint8_t)(15 - cell_bits)};
    for (unsigned u = 0; u < units; ++u) {
        const int32_t i = sc_sigmoid1(gate(layer, acc, multipliers, 4 * u));
        const int32_t o = sc_sigmoid1(gate(layer, acc, multipliers, 4 * u + 1));
        const int32_t f = sc_sigmoid1(gate(layer, acc, multipliers, 4 * u + 2));
        const int32_t g = sc_tanh1(gate(layer, acc, multipliers, 4 * u + 3));
        /* f * c and the rounded i * g stay within 2^30 each */
        const int32_t sum = f * c[u] + sc_round(i * g, fresh);
        const int32_t next = sc_sat16((sum + 16384) >> 15);
        c[u] = (int16_t)next;
        h[u] = (int16_t)sc_mul15(o, sc_tanh1(cell_argument(next, cell_bits)));
    }
}

#endif
