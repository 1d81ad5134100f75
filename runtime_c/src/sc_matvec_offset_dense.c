/* Dense row groups of unsigned bytes, 128 more than the weight. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_OFFSET_DENSE
#include "sc_column.h"

void sc_matvec_offset_dense(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        const int32_t *v = x;
        sc_rows4 sum = sc_load4(start);
        for (unsigned c = at->cols; c != 0; --c, ++v, ++weights)
            sum = sc_column(sum, SC_READ32(weights) ^ 0x80808080u, *v);
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->start = start;
}
#endif
