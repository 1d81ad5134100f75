/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_rescale(int16_t *y, const int16_t *x, unsigned n, int16_t multiplier, sc_shift shift)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = (int16_t)sc_sat16(sc_round((int32_t)x[i] * multiplier, shift));
}
