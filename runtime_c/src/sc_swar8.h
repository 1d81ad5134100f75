/* Four pairs of rows, two rows a word. SPDX-License-Identifier: Apache-2.0
 *
 * A weight word holds two rows of one column, P = (w1 << 16) + w0, |w| <= 127. For two columns of int8
 *     T = P x + P' x' = (s1 << 16) + s0,   |s0|, |s1| <= 2 * 127 * 128 = 32512,
 * so T + 0x8000 does not overflow, and its upper half is s1. Each pair of rows sums T into `packed` (mod
 * 2^32) and that upper half into `high`: at the end the first row is packed - (high << 16), the second is
 * high. Both are proven within int32, and only that counts: `packed` wraps on the way.
 */
#ifndef SC_SWAR8_H
#define SC_SWAR8_H

#include "stepcell.h"

typedef struct sc_pairs {
    uint32_t packed[4];
    int32_t high[4];
} sc_pairs;

/* Starts are stored as the sums are: packed and high of each pair. */
static inline sc_pairs sc_load_pairs(const int32_t start[8])
{
    sc_pairs sum;
    for (unsigned p = 0; p < 4; ++p) {
        sum.packed[p] = (uint32_t)SC_READ32(start + 2 * p);
        sum.high[p] = (int32_t)SC_READ32(start + 2 * p + 1);
    }
    return sum;
}

static inline void sc_store_pairs(int32_t acc[8], const sc_pairs *sum)
{
    for (unsigned p = 0; p < 4; ++p) {
        acc[2 * p] = (int32_t)(sum->packed[p] - ((uint32_t)sum->high[p] << 16));
        acc[2 * p + 1] = sum->high[p];
    }
}

/* Adds two columns: eight words, for each pair of rows one of the first column and one of the second. */
static inline void sc_two_columns(sc_pairs *sum, const uint32_t words[8], int32_t x0, int32_t x1)
{
    for (unsigned p = 0; p < 4; ++p) {
        const uint32_t t =
            SC_READ32(words + 2 * p) * (uint32_t)x0 + SC_READ32(words + 2 * p + 1) * (uint32_t)x1;
        sum->packed[p] += t;
        sum->high[p] += (int32_t)(t + 0x8000u) >> 16;
    }
}

#endif
