/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_min(int16_t *y, const int16_t *a, const int16_t *b, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = (int16_t)(a[i] - sc_relu1((int32_t)a[i] - b[i]));
}
