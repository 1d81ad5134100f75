/* Row groups of four rows, of whose tiles of four columns only those with weights are stored; included once
 * for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines LINKAGE, NAME and INPUT. For each segment of SC_SEGMENT tiles a row group has a byte
 * that counts the stored ones and a byte for each that says which it is.
 */
#include "sc_tiles.h"

LINKAGE void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        int32_t sum[4];
        for (unsigned r = 0; r < 4; ++r)
            sum[r] = (int32_t)SC_READ32(start + r);
        for (unsigned first = 0; first < at->cols; first += 4 * SC_SEGMENT)
            for (unsigned tiles = SC_READ8(columns++); tiles != 0; --tiles, weights += 4)
                sc_add_tile(sum, weights, 4, (const INPUT *)x + first + 4u * SC_READ8(columns++));
        for (unsigned r = 0; r < 4; ++r)
            acc[r] = sum[r];
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
