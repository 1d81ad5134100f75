/* Dense rows times 16-bit inputs: a word is four columns of one row, bytes 0 and 2 the first two.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sc_column.h"
#include "sc_isa.h"

#ifndef SC_HAS_MATVEC_QUAD_DENSE_S16

/* Columns 0 2 1 3 of a row. */
static inline int32_t add_four(int32_t sum, uint32_t word, const int16_t v[4])
{
    sum += (int8_t)(word & 0xffu) * (int32_t)v[0] + (int8_t)((word >> 16) & 0xffu) * (int32_t)v[1];
    return sum + (int8_t)((word >> 8) & 0xffu) * (int32_t)v[2] + (int8_t)(word >> 24) * (int32_t)v[3];
}

void sc_matvec_quad_dense_s16(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        const int16_t *v = x;
        sc_rows4 sum = sc_load4(start);
        for (unsigned c = 0; c < at->cols; c += 4, weights += 4, v += 4) {
            sum.r0 = add_four(sum.r0, SC_READ32(weights), v);
            sum.r1 = add_four(sum.r1, SC_READ32(weights + 1), v);
            sum.r2 = add_four(sum.r2, SC_READ32(weights + 2), v);
            sum.r3 = add_four(sum.r3, SC_READ32(weights + 3), v);
        }
        sc_store4(acc, sum);
    }
    at->weights = weights;
    at->start = start;
}
#endif
