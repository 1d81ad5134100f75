/* GRU with linear_before_reset = 1, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

enum { GATES = 3, ROWS = 4 * GATES };

void sc_gru(const sc_gru_layer *layer, const void *x, const int8_t *view, int16_t *h)
{
    sc_cursor input = layer->input.start, recurrent = layer->recurrent.start;
    const int32_t *bias = layer->bias, *candidate_bias = layer->candidate_bias;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned unit = 0; unit < layer->units; unit += 4, multipliers += ROWS) {
        int32_t ax[ROWS], ah[ROWS];
        bias = sc_start(ax, bias, ROWS);
        sc_zero(ah, 8);
        candidate_bias = sc_start(ah + 8, candidate_bias, 4);
        sc_multiply(&layer->input, &input, GATES, x, ax);
        sc_multiply(&layer->recurrent, &recurrent, GATES, view, ah);

        const unsigned here = sc_units_here(unit, layer->units);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t z =
                sc_sigmoid1(sc_joint(ax[u], ah[u], SC_READ32(multipliers + u), layer->input_shift,
                                     layer->recurrent_shift, layer->post_shift));
            const int32_t r =
                sc_sigmoid1(sc_joint(ax[4 + u], ah[4 + u], SC_READ32(multipliers + 4 + u), layer->input_shift,
                                     layer->recurrent_shift, layer->post_shift));
            const uint32_t m = SC_READ32(multipliers + 8 + u);
            /* |px| <= 2^29: not saturated alone, but with what the reset gate lets through */
            const int32_t px = sc_round(sc_round(ax[8 + u], layer->input_shift) * (int32_t)(m & 0xffffu),
                                        layer->candidate_input_shift);
            const int32_t ph = sc_round(sc_round(ah[8 + u], layer->recurrent_shift) * (int32_t)(m >> 16),
                                        layer->candidate_recurrent_shift);
            const int32_t n = sc_tanh1(sc_sat16(px + sc_mul15(r, sc_sat16(ph))));
            /* |z * (h - n)| <= 32767 * 65535 < 2^31 - 2^14 */
            h[unit + u] = (int16_t)(n + sc_mul15(z, h[unit + u] - n));
        }
    }
}
