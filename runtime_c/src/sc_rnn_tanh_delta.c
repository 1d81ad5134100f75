/* RNN of held values, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

void sc_rnn_tanh_delta(const sc_rnn_layer *layer, const void *x, const void *view, int32_t *sums, int16_t *h)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const unsigned rows = sc_delta_units(layer->units);
    int32_t *ax = sums, *ah = sums + rows;

    layer->input.multiply(&input, x, ax, rows);
    layer->recurrent.multiply(&recurrent, view, ah, rows);
    for (unsigned u = 0; u < layer->units; ++u)
        h[u] = (int16_t)sc_tanh1(sc_joint(ax[u], ah[u], SC_READ32(layer->multipliers + u), layer->input_shift,
                                          layer->recurrent_shift, layer->post));
}
