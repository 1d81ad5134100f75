/* RNN, one step; included once for each activation. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and FUNCTION.
 */
#include "sc_rows.h"

void NAME(const sc_rnn_layer *layer, const void *x, const void *before, int16_t *h)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned left = layer->units; left != 0;) {
        int32_t ax[SC_PASS], ah[SC_PASS];
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->input.multiply(&input, x, ax, pass);
        layer->recurrent.multiply(&recurrent, before, ah, pass);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t p = sc_joint(ax[u], ah[u], SC_READ32(multipliers + u), layer->input_shift,
                                       layer->recurrent_shift, layer->post);
            h[u] = (int16_t)FUNCTION(p);
        }
        multipliers += pass;
        h += here;
        left -= here;
    }
}
