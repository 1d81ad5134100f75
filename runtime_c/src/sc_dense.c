/* Dense layer. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"

void sc_dense(const sc_dense_layer *layer, const void *x, int16_t *y)
{
    sc_cursor at = layer->matrix.start;
    const int32_t *bias = layer->bias;
    const uint16_t *multipliers = layer->multipliers;

    for (unsigned row = 0; row < layer->rows; row += 4, multipliers += 4) {
        int32_t acc[4];
        bias = sc_start(acc, bias, 4);
        sc_multiply(&layer->matrix, &at, 1, x, acc);
        const unsigned here = sc_units_here(row, layer->rows);
        for (unsigned r = 0; r < here; ++r) {
            const int32_t product = sc_round(acc[r], layer->pre_shift) * (int32_t)SC_READ16(multipliers + r);
            const int32_t v = sc_sat16(sc_round(product, layer->post_shift));
            y[row + r] =
                (int16_t)(layer->least == 0 ? sc_relu1(v) : v); /* the same for every row and datum */
        }
    }
}
