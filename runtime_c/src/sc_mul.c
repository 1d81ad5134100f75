/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_mul(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, int16_t multiplier, sc_shift shift)
{
    for (unsigned i = 0; i < n; ++i) /* the product's upper half is within 2^15, times 2^14 */
        y[i] = (int16_t)sc_sat16(sc_round(sc_mul15(a[i], b[i]) * multiplier, shift));
}
