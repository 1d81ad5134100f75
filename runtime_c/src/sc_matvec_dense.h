/* Dense row groups times a vector; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and INPUT.
 */
#include "sc_column.h"

void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        const INPUT *v = x;
        sc_rows4 sum = sc_load4(start);
        for (unsigned c = at->cols; c != 0; --c, ++v, ++weights)
            sum = sc_column(sum, SC_READ32(weights), *v);
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->start = start;
}
