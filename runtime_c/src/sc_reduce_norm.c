/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_root.h"

void sc_reduce_norm(int16_t *y, const int16_t *x, unsigned rows, unsigned n, sc_shift before,
                    int16_t multiplier, sc_shift shift)
{
    for (unsigned r = 0; r < rows; ++r, x += n) {
        uint32_t sum = 0;
        for (unsigned i = 0; i < n; ++i)
            sum += (uint32_t)sc_round((int32_t)x[i] * x[i], before); /* n of them stay within 2^31 */
        y[r] = (int16_t)sc_sat16(sc_round((int32_t)sc_root(sum) * multiplier, shift));
    }
}
