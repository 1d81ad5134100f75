/* Dense row groups in pairs of rows. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_SWAR_DENSE
#include "sc_swar4.h"

void sc_matvec_swar_dense(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        const int32_t *v = x;
        sc_rows4 sum = sc_load_swar4(start);
        for (unsigned c = at->cols / 2; c != 0; --c, v += 2, weights += 4)
            sum = sc_two_columns4(sum, weights, v);
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->start = start;
}
#endif
