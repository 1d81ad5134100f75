/* GRU with linear_before_reset = 1 of held values, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

void sc_gru_delta(const sc_gru_layer *layer, const void *x, const void *view, int32_t *sums, int16_t *h)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const uint32_t *multipliers = layer->multipliers;
    const unsigned rows = 3 * sc_delta_units(layer->units);

    layer->input.multiply(&input, x, sums, rows);
    layer->recurrent.multiply(&recurrent, view, sums + rows, rows);
    for (unsigned left = layer->units; left != 0;) {
        sc_pass acc;
        const unsigned here = sc_least(SC_PASS, left);
        for (unsigned row = 0; row < 3 * SC_PASS; ++row)
            acc.input[row] = sums[row];
        for (unsigned row = 0; row < 3 * SC_PASS; ++row)
            acc.recurrent[row] = sums[rows + row];
        sc_gru_tail(layer, &acc, multipliers, here, h);
        sums += 3 * SC_PASS;
        multipliers += 3 * SC_PASS;
        h += here;
        left -= here;
    }
}
