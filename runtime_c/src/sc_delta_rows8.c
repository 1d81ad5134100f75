/* Adds the columns that changed, dense row groups of eight. SPDX-License-Identifier: Apache-2.0
 *
 * Stored as for sc_matvec_rows8_dense. Four rows at a time, so that their sums stay in registers. The weights
 * of all columns times the values that are held are proven to fit int32; on the way there, in the order in
 * which columns change, sums may wrap.
 */
#include "stepcell.h"

static inline uint32_t times(uint32_t weight, int32_t by)
{
    return (uint32_t)((int8_t)(weight & 0xffu) * by);
}

static void add_columns(int32_t acc[4], const uint32_t *weights, const sc_change *change)
{
    uint32_t r0 = (uint32_t)acc[0], r1 = (uint32_t)acc[1], r2 = (uint32_t)acc[2], r3 = (uint32_t)acc[3];
    for (; change->by != 0; ++change) {
        const uint32_t word = SC_READ32(weights + change->at / 4);
        r0 += times(word, change->by);
        r1 += times(word >> 8, change->by);
        r2 += times(word >> 16, change->by);
        r3 += times(word >> 24, change->by);
    }
    acc[0] = (int32_t)r0;
    acc[1] = (int32_t)r1;
    acc[2] = (int32_t)r2;
    acc[3] = (int32_t)r3;
}

void sc_delta_rows8(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const sc_change *changes = x;
    const uint32_t *weights = at->weights;
    for (; rows != 0; rows -= 8, acc += 8, weights += 2 * (size_t)at->cols) {
        add_columns(acc, weights, changes);
        add_columns(acc + 4, weights + 1, changes);
    }
    at->weights = weights;
}
