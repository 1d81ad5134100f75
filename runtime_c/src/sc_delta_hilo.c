/* Adds the pairs of columns that changed: four words are two columns of eight rows.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Once all changes are added, sums are those of the values that are held, whose high rows are proven to stay
 * below 2^23; on the way there they may wrap.
 */
#include "sc_hilo.h"
#include "sc_isa.h"

#ifndef SC_HAS_DELTA_HILO

static void add_columns(int32_t acc[2], const uint32_t *weights, const sc_change_pair *change)
{
    sc_hilo sum = {(uint32_t)acc[0], (uint32_t)acc[0] + ((uint32_t)acc[1] << 8)};
    for (; change->by[0] != 0 || change->by[1] != 0; ++change)
        sc_hilo_add(&sum, SC_READ32(weights + change->at / 4), change->by[0], change->by[1]);
    sc_hilo_store(acc, sum);
}

void sc_delta_hilo(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const sc_change_pair *changes = x;
    const uint32_t *weights = at->weights;
    for (; rows != 0; rows -= 8, acc += 8, weights += 2 * (size_t)at->cols)
        for (unsigned pair = 0; pair < 4; ++pair)
            add_columns(acc + 2 * pair, weights + pair, changes);
    at->weights = weights;
}
#endif
