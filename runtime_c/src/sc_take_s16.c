/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_take_s16(int16_t *y, const int16_t *x, const uint16_t *indices, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = x[SC_READ16(indices + i)];
}
