/* A running mean over time. SPDX-License-Identifier: Apache-2.0 */
#include "sc_divide.h"

/* 1 while the mean is open, 0 once it has taken in SC_MEAN_STEPS steps. */
static int32_t is_open(const int32_t *count)
{
    int32_t open = (int32_t)((uint32_t)(*count - SC_MEAN_STEPS) >> 31);
    SC_OPAQUE(open);
    return open;
}

void sc_total(int32_t *total, const int16_t *x, unsigned n, const int32_t *count)
{
    const int32_t factor = is_open(count);
    for (unsigned i = 0; i < n; ++i)
        total[i] += x[i] * factor; /* |total| <= 32767 * 2^15 < 2^30 */
}

void sc_count(int32_t *count)
{
    *count += is_open(count);
}

void sc_mean(int16_t *y, const int32_t *total, unsigned n, const int32_t *count)
{
    const int32_t steps = *count + (int32_t)((uint32_t)(*count - 1) >> 31); /* at least 1 */
    const uint32_t divisor = 2u * (uint32_t)steps;
    for (unsigned i = 0; i < n; ++i) {
        /* floor((2 total + steps) / (2 steps)); lifted by 2^15 * divisor to divide what is not negative:
         * 2 * |total| + steps < 2^31 and the lift < 2^31, so the sum fits 32 bits unsigned */
        const uint32_t lifted = (uint32_t)(2 * total[i] + steps) + 32768u * divisor;
        y[i] = (int16_t)((int32_t)sc_divide(lifted, divisor) - 32768);
    }
}
