/* Blocks of 4 rows and 1 column, of unsigned bytes, 128 more than the weight. SPDX-License-Identifier:
 * Apache-2.0
 *
 * For each segment of SC_SEGMENT columns a row group has a byte that counts its blocks and a byte a block
 * that says which column it covers; its weights are a word a block.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_OFFSET_4X1
#include "sc_column.h"

void sc_matvec_offset_4x1(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        sc_rows4 sum = sc_load4(start);
        for (uint32_t first = 0; first < at->cols; first += SC_SEGMENT)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, ++weights) {
                const int32_t *v = (const int32_t *)x + first + SC_READ8(columns++);
                sum = sc_column(sum, SC_READ32(weights) ^ 0x80808080u, *v);
            }
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
