/* The weighted mean of rows; included once for each storage type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME, STORED and BITS, those of a value but its sign. Weights sum to 2^13 .. 2^15 +
 * 2^13 =: W, so that sums are within W * 2^BITS < 2^31, and what is left of them after the shift within W.
 */
#include "sc_divide.h"
#include "sc_seen.h"

/* The multiplier is at most 2^14, so that |sum >> BITS| * factor <= 2^30 + 2^15. */
static inline int16_t mean_of(int32_t sum, int32_t factor, sc_shift shift)
{
    const int32_t mean = (sum + ((int32_t)1 << (BITS - 1))) >> BITS;
    return (int16_t)sc_sat16(sc_round(mean * factor, shift));
}

void NAME(int16_t *y, const int32_t *weights, const STORED *values, unsigned rows, unsigned width,
          const int32_t *count, int16_t multiplier, sc_shift shift)
{
    const unsigned n = sc_seen(count, rows);
    uint32_t total = 0;
    for (unsigned s = 0; s < n; ++s)
        total += (uint32_t)weights[s];
    const int32_t factor = (int32_t)sc_divide(((uint32_t)multiplier << 16) + (total >> 1), total);
    for (unsigned i = width >> 2; i != 0; --i, values += 4, y += 4) {
        const STORED *row = values;
        int32_t a = 0, b = 0, c = 0, d = 0;
        for (unsigned s = 0; s < n; ++s, row += width) {
            const int32_t w = weights[s];
            a += w * row[0];
            b += w * row[1];
            c += w * row[2];
            d += w * row[3];
        }
        y[0] = mean_of(a, factor, shift);
        y[1] = mean_of(b, factor, shift);
        y[2] = mean_of(c, factor, shift);
        y[3] = mean_of(d, factor, shift);
    }
    for (unsigned i = width & 3u; i != 0; --i, ++values, ++y) {
        const STORED *row = values;
        int32_t sum = 0;
        for (unsigned s = 0; s < n; ++s, row += width)
            sum += weights[s] * *row;
        *y = mean_of(sum, factor, shift);
    }
}
