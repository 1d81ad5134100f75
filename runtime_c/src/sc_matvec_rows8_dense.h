/* Dense row groups of eight; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and INPUT.
 */
#include "sc_column8.h"

void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        const INPUT *v = x;
        sc_rows8 sum = sc_load8(start);
        for (unsigned c = at->cols; c != 0; --c, ++v, weights += 2)
            sum = sc_column8(sum, weights, *v);
        sc_store8(acc, sum);
    }
    at->weights = weights;
    at->start = start;
}
