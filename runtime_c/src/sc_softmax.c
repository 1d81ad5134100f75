/* Softmax over rows. SPDX-License-Identifier: Apache-2.0 */
#include "sc_divide.h"

/* 2^(15 - j / 32) */
static const uint16_t powers[33] SC_FLASH = {
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386,
    25821, 25268, 24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792,
    20347, 19911, 19484, 19066, 18658, 18258, 17867, 17484, 17109, 16743, 16384,
};

/* 2^(-t / 4096) in units of 2^-(15 + lift), 0 <= t < 2^17; lift <= 9. */
static uint32_t power_of_half(uint32_t t, unsigned lift)
{
    const uint16_t *entry = powers + ((t >> 7) & 31u);
    const uint32_t start = SC_READ16(entry);
    const uint32_t drop = start - SC_READ16(entry + 1); /* at most 702, times less than 2^7 */
    return ((start - ((drop * (t & 127u) + 64u) >> 7)) << lift) >> (t >> 12);
}

/* min(rr(below * multiplier, shift), 2^17 - 1), below < 2^16, the product at most 2^30 */
static uint32_t exponent(int32_t below, int16_t multiplier, sc_shift shift)
{
    const int32_t t = sc_round(below * multiplier, shift);
    return (uint32_t)(131071 - sc_relu1(131071 - t));
}

void sc_softmax(int16_t *y, const int16_t *x, unsigned rows, unsigned n, int16_t multiplier, sc_shift shift,
                unsigned fraction)
{
    const unsigned lift = fraction - 15u;
    for (unsigned r = 0; r < rows; ++r, x += n, y += n) {
        int32_t most = x[0];
        for (unsigned i = 1; i < n; ++i)
            most += sc_relu1(x[i] - most);
        uint32_t sum = 0; /* the largest element alone gives 2^fraction >= 2^15; n of them at most 2^31 */
        for (unsigned i = 0; i < n; ++i)
            sum += power_of_half(exponent(most - x[i], multiplier, shift), lift);
        const unsigned by = (unsigned)sc_bit_length(sum >> 16);
        const uint32_t inverse = sc_divide((uint32_t)1 << 31, sum >> by); /* 2^15 < inverse <= 2^16 */
        for (unsigned i = 0; i < n; ++i) {
            const uint32_t e = power_of_half(exponent(most - x[i], multiplier, shift), lift) >> by;
            const uint32_t q = (e * inverse + 32768u) >> 16; /* e <= sum >> by, so the product is <= 2^31 */
            y[i] = (int16_t)(q - (q >> 15));
        }
    }
}
