/* Two pairs of rows, two rows a word. SPDX-License-Identifier: Apache-2.0
 *
 * A word holds one column of two rows, P = 65536 w1 + w0, |w| <= 127; a block is two columns of four rows,
 * [P01, P01', P23, P23']. Kernels of instruction sets sum products of whole words, so a row group starts with
 * [b0 + 65536 b1, b1, b2 + 65536 b3, b3], modulo 2^32; here the rows are taken apart instead.
 */
#ifndef SC_SWAR4_H
#define SC_SWAR4_H

#include "sc_column.h"

static inline sc_rows4 sc_load_swar4(const int32_t start[4])
{
    const uint32_t r1 = (uint32_t)SC_READ32(start + 1), r3 = (uint32_t)SC_READ32(start + 3);
    const uint32_t r0 = (uint32_t)SC_READ32(start) - (r1 << 16);
    const uint32_t r2 = (uint32_t)SC_READ32(start + 2) - (r3 << 16);
    return (sc_rows4){(int32_t)r0, (int32_t)r1, (int32_t)r2, (int32_t)r3};
}

static inline int32_t sc_low_row(uint32_t word)
{
    return (int16_t)(word & 0xffffu);
}

static inline int32_t sc_high_row(uint32_t word)
{
    return (int16_t)((word - (uint32_t)sc_low_row(word)) >> 16);
}

/* Adds one block. */
static inline sc_rows4 sc_two_columns4(sc_rows4 sum, const uint32_t words[4], const int32_t x[2])
{
    for (unsigned c = 0; c < 2; ++c) {
        const uint32_t rows01 = SC_READ32(words + c), rows23 = SC_READ32(words + 2 + c);
        sum.r0 += sc_low_row(rows01) * x[c];
        sum.r1 += sc_high_row(rows01) * x[c];
        sum.r2 += sc_low_row(rows23) * x[c];
        sum.r3 += sc_high_row(rows23) * x[c];
    }
    return sum;
}

#endif
