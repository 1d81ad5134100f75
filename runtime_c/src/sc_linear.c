/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_linear(int16_t *y, const int16_t *x, unsigned n, int16_t multiplier, int32_t offset, sc_shift shift,
               int16_t least, int16_t greatest)
{
    const int32_t range = (int32_t)greatest - least;
    const int32_t start = offset + shift.half; /* |offset| < 2^30, half <= 2^29 */
    for (unsigned i = 0; i < n; ++i) {
        const int32_t v = sc_sat16((x[i] * (int32_t)multiplier + start) >> shift.shift); /* product <= 2^29 */
        y[i] = (int16_t)(greatest - sc_relu1(range - sc_relu1(v - least)));
    }
}
