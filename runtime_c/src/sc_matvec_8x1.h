/* Blocks of 8 rows and 1 column; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and INPUT. For each segment of SC_SEGMENT columns a row group has a byte that
 * counts its blocks and a byte a block that says which column it is; its weights are two words a block.
 */
#include "sc_column8.h"

void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        sc_rows8 sum = sc_load8(start);
        for (uint32_t first = 0; first < at->cols; first += SC_SEGMENT)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += 2)
                sum = sc_column8(sum, weights, ((const INPUT *)x)[first + SC_READ8(columns++)]);
        sc_store8(acc, sum);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
