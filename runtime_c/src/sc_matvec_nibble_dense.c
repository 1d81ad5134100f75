/* Dense rows of 4-bit weights: a halfword is four rows of a column. SPDX-License-Identifier: Apache-2.0
 *
 * A halfword is 4096 * w3 + 256 * (w2 + 8) + 16 * (w1 + 8) + (w0 + 8). Sums of its three lower digits in
 * their places and of the whole, modulo 2^32, give the rows: each is shifted right from its place, for which
 * the packer has proven that there are bits enough, and has 8 times the sum of x too much.
 */
#include "sc_isa.h"
#include "stepcell.h"

#ifndef SC_HAS_MATVEC_NIBBLE_DENSE

static inline uint32_t product(uint32_t digit, int32_t v)
{
    return (uint32_t)((int32_t)digit * v);
}

void sc_matvec_nibble_dense(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        const int16_t *v = x;
        uint32_t s0 = (uint32_t)SC_READ32(start), s1 = (uint32_t)SC_READ32(start + 1);
        uint32_t s2 = (uint32_t)SC_READ32(start + 2), whole = (uint32_t)SC_READ32(start + 3), eight = 0;
        for (unsigned c = 0; c < at->cols; c += 2, ++weights) {
            uint32_t word = SC_READ32(weights);
            for (unsigned half = 0; half < 2; ++half, ++v, word >>= 16) {
                s0 += product(word & 0xfu, *v);
                s1 += product(word & 0xf0u, *v);
                s2 += product(word & 0xf00u, *v);
                whole += (uint32_t)((int16_t)(word & 0xffffu) * (int32_t)*v);
                eight += product(8, *v);
            }
        }
        acc[0] = (int32_t)(s0 - eight);
        acc[1] = ((int32_t)s1 >> 4) - (int32_t)eight;
        acc[2] = ((int32_t)s2 >> 8) - (int32_t)eight;
        acc[3] = (int32_t)(whole - s2 - s1 - s0) >> 12;
    }
    at->weights = weights;
    at->start = start;
}
#endif
