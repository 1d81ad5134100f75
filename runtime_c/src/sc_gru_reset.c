/* GRU with linear_before_reset = 0: the reset gate of every unit. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

void sc_gru_reset(const sc_rnn_layer *layer, const void *x, const void *view, const int16_t *h,
                  int16_t *gated)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned left = layer->units; left != 0;) {
        int32_t ax[SC_PASS], ah[SC_PASS];
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->input.multiply(&input, x, ax, pass);
        layer->recurrent.multiply(&recurrent, view, ah, pass);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t r = sc_joint(ax[u], ah[u], SC_READ32(multipliers + u), layer->input_shift,
                                       layer->recurrent_shift, layer->post);
            gated[u] = (int16_t)sc_mul15(sc_sigmoid1(r), h[u]);
        }
        multipliers += pass;
        h += here;
        gated += here;
        left -= here;
    }
}
