/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_add(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, int16_t a_multiplier,
            int16_t b_multiplier, sc_shift shift)
{
    for (unsigned i = 0; i < n; ++i) {
        /* each product is within 2^29 */
        const int32_t sum = (int32_t)a[i] * a_multiplier + (int32_t)b[i] * b_multiplier;
        y[i] = (int16_t)sc_sat16(sc_round(sum, shift));
    }
}
