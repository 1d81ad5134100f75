/* RNN, one step; included once for each activation. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and FUNCTION.
 */
#include "sc_rows.h"

void NAME(const sc_rnn_layer *layer, const void *x, const void *before, int16_t *h)
{
    sc_cursor input = layer->input.start, recurrent = layer->recurrent.start;
    const int32_t *bias = layer->bias;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned unit = 0; unit < layer->units; unit += 4, multipliers += 4) {
        int32_t ax[4], ah[4];
        bias = sc_start(ax, bias, 4);
        sc_zero(ah, 4);
        sc_multiply(&layer->input, &input, 1, x, ax);
        sc_multiply(&layer->recurrent, &recurrent, 1, before, ah);
        const unsigned here = sc_units_here(unit, layer->units);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t p = sc_joint(ax[u], ah[u], SC_READ32(multipliers + u), layer->input_shift,
                                       layer->recurrent_shift, layer->post_shift);
            h[unit + u] = (int16_t)FUNCTION(p);
        }
    }
}
