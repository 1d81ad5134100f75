/* Dense layer: from accumulators to outputs. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "sc_rows.h"

#ifndef SC_HAS_DENSE_TAIL

void sc_dense_tail(const sc_dense_layer *layer, const int32_t *acc, const uint16_t *multipliers,
                   unsigned rows, int16_t *y)
{
    for (unsigned r = 0; r < rows; ++r) {
        const int32_t product = (acc[r] >> layer->pre_shift) * (int32_t)SC_READ16(multipliers + r);
        const int32_t v = sc_sat16(sc_round(product, layer->post));
        y[r] = (int16_t)(layer->least == 0 ? sc_relu1(v) : v); /* the same for every row and datum */
    }
}
#endif
