/* Dense row groups times a vector; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and INPUT.
 */
#include "sc_column.h"

void NAME(sc_cursor *at, unsigned groups, unsigned cols, const void *x, int32_t *acc)
{
    const uint32_t *weights = at->weights;
    for (; groups != 0; --groups, acc += 4) {
        const INPUT *v = x;
        sc_rows4 sum = sc_load4(acc);
        for (unsigned c = cols; c != 0; --c, ++v, ++weights)
            sum = sc_column(sum, SC_READ32(weights), *v);
        sc_store4(acc, sum);
    }
    at->weights = weights;
}
