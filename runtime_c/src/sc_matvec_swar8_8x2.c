/* Row groups of blocks, 8 rows by 2 columns, in pairs of rows. SPDX-License-Identifier: Apache-2.0
 *
 * For each segment of SC_SEGMENT pairs of columns a row group has a byte that counts its blocks and a byte a
 * block that says which pair of columns it covers; its weights are eight words a block.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_SWAR8_8X2
#include "sc_swar8.h"

void sc_matvec_swar8_8x2(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        sc_pairs sum = sc_load_pairs(start);
        for (uint32_t first = 0; first < at->cols; first += 2 * SC_SEGMENT)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += 8) {
                const int8_t *v = (const int8_t *)x + first + 2u * SC_READ8(columns++);
                sc_two_columns(&sum, weights, v[0], v[1]);
            }
        sc_store_pairs(acc, &sum);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
