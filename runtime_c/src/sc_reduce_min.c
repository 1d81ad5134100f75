/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_reduce_min(int16_t *y, const int16_t *x, unsigned rows, unsigned n)
{
    for (unsigned r = 0; r < rows; ++r, x += n) {
        int32_t least = x[0];
        for (unsigned i = 1; i < n; ++i)
            least -= sc_relu1(least - x[i]);
        y[r] = (int16_t)least;
    }
}
