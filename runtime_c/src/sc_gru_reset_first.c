/* GRU with linear_before_reset = 0, one step: the reset gate of every unit first. SPDX-License-Identifier:
 * Apache-2.0 */
#include "sc_rows.h"

static int32_t gate(const sc_gru_layer *layer, int32_t ax, int32_t ah, const uint32_t *multipliers)
{
    return sc_joint(ax, ah, SC_READ32(multipliers), layer->input_shift, layer->recurrent_shift,
                    layer->post_shift);
}

void sc_gru_reset_first(const sc_gru_layer *layer, const void *x, const int8_t *view, int8_t *gated,
                        int16_t *h)
{
    sc_cursor input = layer->input.start, recurrent = layer->recurrent.start;
    const int32_t *bias = layer->bias;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned unit = 0; unit < layer->units; unit += 4, multipliers += 4) {
        int32_t ax[4], ah[4];
        bias = sc_start(ax, bias, 4);
        sc_zero(ah, 4);
        sc_multiply(&layer->input, &input, 1, x, ax);
        sc_multiply(&layer->recurrent, &recurrent, 1, view, ah);
        const unsigned here = sc_units_here(unit, layer->units);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t r = sc_sigmoid1(gate(layer, ax[u], ah[u], multipliers + u));
            gated[unit + u] = sc_view1(sc_mul15(r, h[unit + u]));
        }
    }
    for (unsigned unit = 0; unit < layer->units; unit += 4, multipliers += 8) {
        int32_t ax[8], ah[8];
        bias = sc_start(ax, bias, 8);
        sc_zero(ah, 8);
        sc_multiply(&layer->input, &input, 2, x, ax);
        sc_multiply(&layer->recurrent, &recurrent, 1, view, ah);
        sc_multiply(&layer->recurrent, &recurrent, 1, gated, ah + 4);
        const unsigned here = sc_units_here(unit, layer->units);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t z = sc_sigmoid1(gate(layer, ax[u], ah[u], multipliers + u));
            const int32_t n = sc_tanh1(gate(layer, ax[4 + u], ah[4 + u], multipliers + 4 + u));
            /* |z * (h - n)| <= 32767 * 65535 < 2^31 - 2^14 */
            h[unit + u] = (int16_t)(n + sc_mul15(z, h[unit + u] - n));
        }
    }
}
