/* Dense layer. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

void sc_dense(const sc_dense_layer *layer, const void *x, int16_t *y)
{
    sc_cursor at = layer->matrix.at;
    const uint16_t *multipliers = layer->multipliers;

    for (unsigned left = layer->rows; left != 0;) {
        int32_t acc[SC_PASS];
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->matrix.multiply(&at, x, acc, pass);
        sc_dense_tail(layer, acc, multipliers, here, y);
        multipliers += pass;
        y += here;
        left -= here;
    }
}
