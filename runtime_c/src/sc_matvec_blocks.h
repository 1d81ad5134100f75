/* Row groups of blocks, 4 rows by WIDTH columns; included once for each kind. SPDX-License-Identifier:
 * Apache-2.0
 *
 * The includer defines NAME, INPUT and WIDTH. A row group is a byte that counts its blocks and a byte
 * a block that says which WIDTH columns it covers; its weights are WIDTH words a block.
 */
#include "sc_column.h"

void NAME(sc_cursor *at, unsigned groups, unsigned cols, const void *x, int32_t *acc)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    (void)cols;
    for (; groups != 0; --groups, acc += 4) {
        sc_rows4 sum = sc_load4(acc);
        for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += WIDTH) {
            const INPUT *v = (const INPUT *)x + (size_t)SC_READ8(columns++) * WIDTH;
            for (unsigned c = 0; c < WIDTH; ++c)
                sum = sc_column(sum, SC_READ32(weights + c), v[c]);
        }
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->columns = columns;
}
