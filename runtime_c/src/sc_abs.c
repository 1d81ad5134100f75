/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_abs(int16_t *y, const int16_t *x, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = (int16_t)sc_sat16((int32_t)sc_magnitude(x[i]));
}
