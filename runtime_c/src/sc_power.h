/* Powers of a half, as a softmax wants them. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_POWER_H
#define SC_POWER_H

#include "sc_arithmetic.h"

/* 2^(15 - j / 32) */
static const uint16_t sc_powers[33] SC_FLASH = {
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
    25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
    20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384,
};

/* 2^(-t / 4096) in units of 2^-(15 + lift), 0 <= t < 2^17; lift <= 9. */
static inline uint32_t sc_power_of_half(uint32_t t, unsigned lift)
{
    const uint16_t *entry = sc_powers + ((t >> 7) & 31u);
    const uint32_t start = SC_READ16(entry);
    const uint32_t drop = start - SC_READ16(entry + 1); /* at most 702, times less than 2^7 */
    return ((start - ((drop * (t & 127u) + 64u) >> 7)) << lift) >> (t >> 12);
}

/* min(rr(below * multiplier, shift), 2^17 - 1), below < 2^16, the product at most 2^30 */
static inline uint32_t sc_exponent(int32_t below, int16_t multiplier, sc_shift shift)
{
    const int32_t t = sc_round(below * multiplier, shift);
    return (uint32_t)(131071 - sc_relu1(131071 - t));
}

#endif
