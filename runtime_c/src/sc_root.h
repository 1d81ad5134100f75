/* An exact square root. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_ROOT_H
#define SC_ROOT_H

#include "sc_divide.h"

#if SC_HAS_DIVIDER
/* floor(sqrt(v)): two steps of Newton's method from a line within 6.3 % of the root of v lifted to
 * 2^30..2^32. The first leaves 2e-3, the second 2e-6, or 0.13 of a unit, and neither falls below the root; so
 * it is one too large at most. */
static inline uint32_t sc_floor_root(uint32_t v)
{
    const unsigned lift = (32u - sc_bit_length(v | 1u)) >> 1;
    const uint32_t lifted = (v | (v == 0u)) << (2u * lift);
    uint32_t root = 24576u + (((lifted >> 15) * 5u) >> 4);
    root = (root + lifted / root) >> 1;
    root = (root + lifted / root) >> 1; /* at most 2^16 */
    root -= root >> 16;
    root -= (uint32_t)(root * root > lifted);
    return (root >> lift) - (uint32_t)(v == 0u);
}
#else
/* floor(sqrt(v)) bit by bit, in 16 rounds whatever v is. After each, root * root <= v taken from the top two
 * bits at a time, and rest <= 2 * root is what remains. */
static inline uint32_t sc_floor_root(uint32_t v)
{
    uint32_t root = 0, rest = 0;
    for (unsigned round = 16; round != 0; --round) {
        rest = (rest << 2) | (v >> 30);
        v <<= 2;
        const uint32_t trial = 4u * root + 1u; /* at most 2^17 */
        uint32_t fits = 1u - ((rest - trial) >> 31);
        SC_OPAQUE(fits);
        rest -= trial * fits;
        root = 2u * root + fits;
    }
    return root;
}
#endif

/* The square root of v to the nearest integer, 0..65536. */
static inline uint32_t sc_root(uint32_t v)
{
    const uint32_t root = sc_floor_root(v);
    uint32_t below = root - (v - root * root); /* -root..root; negative where v > (root + 1/2)^2 */
    SC_OPAQUE(below);
    return root + (below >> 31);
}

#endif
