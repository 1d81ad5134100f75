/* The innermost step of every portable matrix kernel. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_COLUMN_H
#define SC_COLUMN_H

#include "stepcell.h"

/* Accumulators of four rows. Partial sums may wrap; the whole one is proven to fit int32_t. */
typedef struct sc_rows4 {
    uint32_t r0, r1, r2, r3;
} sc_rows4;

static inline sc_rows4 sc_load4(const int32_t acc[4])
{
    return (sc_rows4){(uint32_t)acc[0], (uint32_t)acc[1], (uint32_t)acc[2], (uint32_t)acc[3]};
}

static inline void sc_store4(int32_t acc[4], sc_rows4 sum)
{
    acc[0] = (int32_t)sum.r0;
    acc[1] = (int32_t)sum.r1;
    acc[2] = (int32_t)sum.r2;
    acc[3] = (int32_t)sum.r3;
}

/* Adds one column: four weights in a word times one input. */
static inline sc_rows4 sc_column(sc_rows4 sum, uint32_t word, int32_t v)
{
    sum.r0 += (uint32_t)((int8_t)(word & 0xffu) * v);
    sum.r1 += (uint32_t)((int8_t)((word >> 8) & 0xffu) * v);
    sum.r2 += (uint32_t)((int8_t)((word >> 16) & 0xffu) * v);
    sum.r3 += (uint32_t)((int8_t)(word >> 24) * v);
    return sum;
}

#endif
