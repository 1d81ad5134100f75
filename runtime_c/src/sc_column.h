/* The innermost step of every portable matrix kernel. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_COLUMN_H
#define SC_COLUMN_H

#include "stepcell.h"

/* Accumulators of four rows. No partial sum overflows: |start| + sum |w| |x| is proven below 2^31. */
typedef struct sc_rows4 {
    int32_t r0, r1, r2, r3;
} sc_rows4;

static inline sc_rows4 sc_load4(const int32_t start[4])
{
    return (sc_rows4){(int32_t)SC_READ32(start), (int32_t)SC_READ32(start + 1), (int32_t)SC_READ32(start + 2),
                      (int32_t)SC_READ32(start + 3)};
}

static inline void sc_store4(int32_t acc[4], sc_rows4 sum)
{
    acc[0] = sum.r0;
    acc[1] = sum.r1;
    acc[2] = sum.r2;
    acc[3] = sum.r3;
}

/* Adds one column: four weights in a word times one input. */
static inline sc_rows4 sc_column(sc_rows4 sum, uint32_t word, int32_t v)
{
    sum.r0 += (int8_t)(word & 0xffu) * v;
    sum.r1 += (int8_t)((word >> 8) & 0xffu) * v;
    sum.r2 += (int8_t)((word >> 16) & 0xffu) * v;
    sum.r3 += (int8_t)(word >> 24) * v;
    return sum;
}

#endif
