/* LSTM, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

enum { GATES = 4, ROWS = 4 * GATES };

static inline int32_t gate(const sc_lstm_layer *layer, const int32_t *ax, const int32_t *ah,
                           const uint32_t *multipliers, unsigned row)
{
    return sc_joint(ax[row], ah[row], SC_READ32(multipliers + row), layer->input_shift,
                    layer->recurrent_shift, layer->post_shift);
}

/* c' as a table argument, Q4.11. */
static int32_t cell_argument(int32_t c, unsigned cell_bits)
{
    if (cell_bits >= 11)
        return sc_round(c, (sc_shift){(1 << (cell_bits - 11)) >> 1, (uint8_t)(cell_bits - 11)});
    return sc_sat16(c * (int32_t)(1 << (11 - cell_bits))); /* |c| * 2^11 <= 2^26 */
}

void sc_lstm(const sc_lstm_layer *layer, const void *x, const int8_t *view, int16_t *h, int16_t *c)
{
    sc_cursor input = layer->input.start, recurrent = layer->recurrent.start;
    const int32_t *bias = layer->bias;
    const uint32_t *multipliers = layer->multipliers;
    const unsigned cell_bits = layer->cell_bits;
    const sc_shift fresh = {(int32_t)((UINT32_C(1) << (15 - cell_bits)) >> 1), (uint8_t)(15 - cell_bits)};

    for (unsigned unit = 0; unit < layer->units; unit += 4, multipliers += ROWS) {
        int32_t ax[ROWS], ah[ROWS];
        bias = sc_start(ax, bias, ROWS);
        sc_zero(ah, ROWS);
        sc_multiply(&layer->input, &input, GATES, x, ax);
        sc_multiply(&layer->recurrent, &recurrent, GATES, view, ah);

        const unsigned here = sc_units_here(unit, layer->units);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t i = sc_sigmoid1(gate(layer, ax, ah, multipliers, u));
            const int32_t o = sc_sigmoid1(gate(layer, ax, ah, multipliers, 4 + u));
            const int32_t f = sc_sigmoid1(gate(layer, ax, ah, multipliers, 8 + u));
            const int32_t g = sc_tanh1(gate(layer, ax, ah, multipliers, 12 + u));
            /* f * c and the rounded i * g stay within 2^30 each */
            const int32_t sum = f * c[unit + u] + sc_round(i * g, fresh);
            const int32_t next = sc_sat16((sum + 16384) >> 15);
            c[unit + u] = (int16_t)next;
            h[unit + u] = (int16_t)sc_mul15(o, sc_tanh1(cell_argument(next, cell_bits)));
        }
    }
}
