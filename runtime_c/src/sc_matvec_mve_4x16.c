/* Blocks of 4 rows and 16 columns, 16 bytes of each row. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "sc_mve_rows.h"
#ifndef SC_HAS_MATVEC_MVE_4X16

#define ROWS 4u
#define WIDTH 16u

/* Adds one block; its weights are 4 words a row. */
static inline void add_block(uint32_t sum[ROWS], const uint32_t *weights, const int8_t *v)
{
    for (unsigned r = 0; r < ROWS; ++r)
        for (unsigned w = 0; w < WIDTH / 4u; ++w, ++weights) {
            const uint32_t word = SC_READ32(weights);
            sum[r] = SC_ADD_FOUR(sum[r], word, v + 4 * w);
        }
}

void sc_matvec_mve_4x16(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= ROWS, start += at->stride) {
        uint32_t sum[ROWS];
        for (unsigned r = 0; r < ROWS; ++r)
            sum[r] = (uint32_t)SC_READ32(start + r);
        for (unsigned first = 0; first < at->cols; first += SC_SEGMENT * WIDTH)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += ROWS * WIDTH / 4u)
                add_block(sum, weights, (const int8_t *)x + first + SC_READ8(columns++) * WIDTH);
        for (unsigned r = 0; r < ROWS; ++r)
            *acc++ = (int32_t)sum[r];
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
