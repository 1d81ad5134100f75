/* The weights of rows from their scores. SPDX-License-Identifier: Apache-2.0 */
#include "sc_power.h"
#include "sc_seen.h"

void sc_weights(int32_t *scores, unsigned rows, const int32_t *count, sc_shift before, int16_t multiplier,
                sc_shift shift, unsigned fraction)
{
    const unsigned n = sc_seen(count, rows), lift = fraction - 15u;
    int32_t most = scores[0];
    for (unsigned s = 1; s < n; ++s)
        most += sc_relu1(scores[s] - most); /* differences are within 2^31 - 2^14 */
    uint32_t sum = 0; /* the largest score alone gives 2^fraction >= 2^17; all of them at most 2^31 */
    for (unsigned s = 0; s < n; ++s) {
        const int32_t below = sc_round(most - scores[s], before);
        const int32_t short_ = 65535 - sc_relu1(65535 - below);
        const uint32_t e = sc_power_of_half(sc_exponent(short_, multiplier, shift), lift);
        scores[s] = (int32_t)e; /* at most 2^24 */
        sum += e;
    }
    const unsigned by = sc_bit_length(sum) - 15u; /* 3..17 */
    const int32_t half = (int32_t)1 << (by - 1u);
    for (unsigned s = 0; s < n; ++s)
        scores[s] = (scores[s] + half) >> by;
}
