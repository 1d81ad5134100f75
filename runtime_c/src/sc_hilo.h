/* Rows in pairs of a high and a low row. SPDX-License-Identifier: Apache-2.0
 *
 * A halfword holds 256 * w1 + w0 for two rows of one column, a word two such columns. `full` sums halfwords,
 * `low` their low bytes, and the high row is the difference, 256 times too large: sums wrap modulo 2^32, and
 * the packer has proven that |high row| < 2^23. Starts are stored as low and full: b0, b0 + 256 * b1.
 */
#ifndef SC_HILO_H
#define SC_HILO_H

#include "stepcell.h"

/* Accumulators of two rows. */
typedef struct sc_hilo {
    uint32_t low, full;
} sc_hilo;

static inline sc_hilo sc_hilo_start(const int32_t start[2])
{
    return (sc_hilo){(uint32_t)SC_READ32(start), (uint32_t)SC_READ32(start + 1)};
}

/* Adds two columns, v0 times the lower halfword of the word and v1 times the upper one. */
static inline void sc_hilo_add(sc_hilo *sum, uint32_t word, int32_t v0, int32_t v1)
{
    const int32_t full = (int16_t)(word & 0xffffu) * v0 + (int16_t)(word >> 16) * v1;
    const int32_t low = (int8_t)(word & 0xffu) * v0 + (int8_t)((word >> 16) & 0xffu) * v1;
    sum->full += (uint32_t)full;
    sum->low += (uint32_t)low;
}

static inline void sc_hilo_store(int32_t acc[2], sc_hilo sum)
{
    acc[0] = (int32_t)sum.low;
    acc[1] = (int32_t)(sum.full - sum.low) >> 8;
}

#endif
