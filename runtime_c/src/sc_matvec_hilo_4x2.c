/* Blocks of 4 rows and 2 columns, rows in pairs. SPDX-License-Identifier: Apache-2.0
 *
 * A row group has, for each segment of SC_SEGMENT block positions, a count of blocks and their positions; a
 * block is two words.
 */
#include "sc_hilo.h"
#include "sc_isa.h"

#ifndef SC_HAS_MATVEC_HILO_4X2

void sc_matvec_hilo_4x2(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        sc_hilo a = sc_hilo_start(start), b = sc_hilo_start(start + 2);
        for (unsigned first = 0; first < at->cols; first += 2 * SC_SEGMENT)
            for (unsigned blocks = SC_READ8(columns++); blocks != 0; --blocks, weights += 2) {
                const int16_t *v = (const int16_t *)x + first + 2 * SC_READ8(columns++);
                sc_hilo_add(&a, SC_READ32(weights), v[0], v[1]);
                sc_hilo_add(&b, SC_READ32(weights + 1), v[0], v[1]);
            }
        sc_hilo_store(acc, a);
        sc_hilo_store(acc + 2, b);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
