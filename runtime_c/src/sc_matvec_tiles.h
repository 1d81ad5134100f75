/* Dense row groups of eight rows in tiles of four columns; included once for each input type.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines LINKAGE, NAME and INPUT. x is padded to whole tiles.
 */
#include "sc_tiles.h"

LINKAGE void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        const INPUT *v = x;
        int32_t sum[8];
        for (unsigned r = 0; r < 8; ++r)
            sum[r] = (int32_t)SC_READ32(start + r);
        for (unsigned c = 0; c < at->cols; c += 4, v += 4, weights += 8)
            sc_add_tile(sum, weights, 8, v);
        for (unsigned r = 0; r < 8; ++r)
            acc[r] = sum[r];
    }
    at->weights = weights;
    at->start = start;
}
