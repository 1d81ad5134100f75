/* Row groups of blocks, 4 rows by WIDTH columns; included once for each kind. SPDX-License-Identifier:
 * Apache-2.0
 *
 * The includer defines NAME, INPUT and WIDTH. For each segment of SC_SEGMENT block positions a row group has
 * a byte that counts its blocks and a byte a block that says which WIDTH columns it covers; its weights are
 * WIDTH words a block.
 */
#include "sc_column.h"

void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        sc_rows4 sum = sc_load4(start);
        for (unsigned first = 0; first < at->cols; first += SC_SEGMENT * WIDTH)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += WIDTH) {
                const INPUT *v = (const INPUT *)x + first + SC_READ8(columns++) * WIDTH;
                for (unsigned c = 0; c < WIDTH; ++c)
                    sum = sc_column(sum, SC_READ32(weights + c), v[c]);
            }
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
