/* Eight rows at once, for portable C. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_COLUMN8_H
#define SC_COLUMN8_H

#include "sc_column.h"

typedef struct sc_rows8 {
    sc_rows4 low, high;
} sc_rows8;

static inline sc_rows8 sc_load8(const int32_t start[8])
{
    return (sc_rows8){sc_load4(start), sc_load4(start + 4)};
}

static inline void sc_store8(int32_t acc[8], sc_rows8 sum)
{
    sc_store4(acc, sum.low);
    sc_store4(acc + 4, sum.high);
}

/* Adds one column: eight weights in two words times one input. */
static inline sc_rows8 sc_column8(sc_rows8 sum, const uint32_t words[2], int32_t v)
{
    sum.low = sc_column(sum.low, SC_READ32(words), v);
    sum.high = sc_column(sum.high, SC_READ32(words + 1), v);
    return sum;
}

#endif
