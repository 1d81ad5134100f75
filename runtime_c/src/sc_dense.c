/* Dense layer. SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"
#include "sc_rows.h"

/* Sums beyond int16 are those that no output of the layer can hold. */
static void sc_saturate_rows(int32_t *acc, unsigned rows, unsigned shift)
{
    for (unsigned r = 0; r < rows; ++r)
        acc[r] = sc_sat16(acc[r] >> shift);
}

void sc_dense(const sc_dense_layer *layer, const void *x, int16_t *y)
{
    sc_cursor at = layer->matrix.at;
    const uint16_t *multipliers = layer->multipliers;

    for (unsigned left = layer->rows; left != 0;) {
        int32_t acc[SC_PASS];
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->matrix.multiply(&at, x, acc, pass);
        if (layer->saturating_shift != 0)
            sc_saturate_rows(acc, here, layer->saturating_shift);
        sc_dense_tail(layer, acc, multipliers, here, y);
        multipliers += pass;
        y += here;
        left -= here;
    }
}
