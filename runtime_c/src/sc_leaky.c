/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_leaky(int16_t *y, const int16_t *x, unsigned n, int16_t positive, int16_t negative, sc_shift shift)
{
    for (unsigned i = 0; i < n; ++i) {
        const int32_t above = sc_relu1(x[i]); /* each product is within 2^29, and one of them is 0 */
        const int32_t below = x[i] - above;
        y[i] = (int16_t)sc_sat16(sc_round(above * positive + below * negative, shift));
    }
}
