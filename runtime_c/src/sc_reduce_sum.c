/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_reduce_sum(int16_t *y, const int16_t *x, unsigned rows, unsigned n, sc_shift before,
                   int16_t multiplier, sc_shift shift)
{
    for (unsigned r = 0; r < rows; ++r, x += n) {
        int32_t sum = 0;
        for (unsigned i = 0; i < n; ++i)
            sum += x[i];                         /* n < 2^15, so |sum| < 2^30 */
        const int32_t a = sc_round(sum, before); /* within 2^24: the upper product within 2^30 */
        const int32_t product = (a >> 8) * (int32_t)multiplier + (((a & 255) * (int32_t)multiplier) >> 8);
        y[r] = (int16_t)sc_sat16(sc_round(product, shift));
    }
}
