/* Row groups of blocks, 4 rows by 2 columns, in pairs of rows. SPDX-License-Identifier: Apache-2.0
 *
 * For each segment of SC_SEGMENT pairs of columns a row group has a byte that counts its blocks and a byte a
 * block that says which pair of columns it covers; its weights are four words a block.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_SWAR_4X2
#include "sc_swar4.h"

void sc_matvec_swar_4x2(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        sc_rows4 sum = sc_load_swar4(start);
        for (uint32_t first = 0; first < at->cols; first += 2 * SC_SEGMENT)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += 4) {
                const int32_t *v = (const int32_t *)x + first + 2u * SC_READ8(columns++);
                sum = sc_two_columns4(sum, weights, v);
            }
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
