/* GRU with linear_before_reset = 1, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "sc_rows.h"

#ifndef SC_HAS_GRU
void sc_gru(const sc_gru_layer *layer, const void *x, const void *view, int16_t *h)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned left = layer->units; left != 0;) {
        sc_pass acc;
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->input.multiply(&input, x, acc.input, 3 * pass);
        layer->recurrent.multiply(&recurrent, view, acc.recurrent, 3 * pass);
        sc_gru_tail(layer, &acc, multipliers, here, h);
        multipliers += 3 * pass;
        h += here;
        left -= here;
    }
}
#endif
