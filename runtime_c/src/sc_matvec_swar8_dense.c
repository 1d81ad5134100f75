/* Dense row groups of eight in pairs of rows. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_SWAR8_DENSE
#include "sc_swar8.h"

void sc_matvec_swar8_dense(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        const int8_t *v = x;
        sc_pairs sum = sc_load_pairs(start);
        for (unsigned c = at->cols / 2; c != 0; --c, v += 2, weights += 8)
            sc_two_columns(&sum, weights, v[0], v[1]);
        sc_store_pairs(acc, &sum);
    }
    at->weights = weights;
    at->start = start;
}
#endif
