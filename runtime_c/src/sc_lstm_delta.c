/* LSTM of held values, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

void sc_lstm_delta(const sc_lstm_layer *layer, const void *x, const void *view, int32_t *sums, int16_t *h,
                   int16_t *c)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const uint32_t *multipliers = layer->multipliers;
    sc_pass *acc = (sc_pass *)sums;

    for (unsigned left = layer->units; left != 0; ++acc) {
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->input.multiply(&input, x, acc->input, 4 * pass);
        layer->recurrent.multiply(&recurrent, view, acc->recurrent, 4 * pass);
        sc_lstm_tail(layer, acc, multipliers, here, h, c);
        multipliers += 4 * pass;
        h += here;
        c += here;
        left -= here;
    }
}
