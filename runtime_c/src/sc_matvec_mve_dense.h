/* Row groups of 8 rows in tiles of a vector register; included once for each input type.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME, INPUT, and WIDTH, the columns of a tile: a tile is WIDTH bytes of each of its
 * rows.
 */
#include "sc_mve_rows.h"

#define ROWS 8u
#define ROW_WORDS (WIDTH / 4u)

void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    const unsigned tiles = at->cols / WIDTH;
    for (; rows != 0; rows -= ROWS, start += at->stride, weights += ROWS * ROW_WORDS * tiles)
        for (unsigned r = 0; r < ROWS; ++r) {
            const uint32_t *row = weights + ROW_WORDS * r;
            const INPUT *v = x;
            uint32_t sum = (uint32_t)SC_READ32(start + r);
            for (unsigned t = 0; t < tiles; ++t, row += ROWS * ROW_WORDS)
                for (unsigned w = 0; w < ROW_WORDS; ++w, v += 4) {
                    const uint32_t word = SC_READ32(row + w);
                    sum = SC_ADD_FOUR(sum, word, v);
                }
            *acc++ = (int32_t)sum;
        }
    at->weights = weights;
    at->start = start;
}
