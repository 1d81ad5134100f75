/* Blocks of 4 rows and 1 column, rows in pairs, blocks too. SPDX-License-Identifier: Apache-2.0
 *
 * A row group has, for each segment of SC_SEGMENT columns, a count of pairs of blocks and two columns a pair.
 * Where blocks are odd in number the last pair's second one holds zeros. A pair is two words.
 */
#include "sc_hilo.h"
#include "sc_isa.h"

#ifndef SC_HAS_MATVEC_HILO_4X1

void sc_matvec_hilo_4x1(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        sc_hilo a = sc_hilo_start(start), b = sc_hilo_start(start + 2);
        for (unsigned first = 0; first < at->cols; first += SC_SEGMENT) {
            const int16_t *v = (const int16_t *)x + first;
            for (unsigned pairs = SC_READ8(columns++); pairs != 0; --pairs, columns += 2, weights += 2) {
                const int32_t v0 = v[SC_READ8(columns)], v1 = v[SC_READ8(columns + 1)];
                sc_hilo_add(&a, SC_READ32(weights), v0, v1);
                sc_hilo_add(&b, SC_READ32(weights + 1), v0, v1);
            }
        }
        sc_hilo_store(acc, a);
        sc_hilo_store(acc + 2, b);
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
