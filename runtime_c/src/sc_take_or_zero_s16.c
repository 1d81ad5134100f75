/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_take_or_zero_s16(int16_t *y, const int16_t *x, const uint16_t *indices, unsigned n)
{
    for (unsigned i = 0; i < n; ++i) {
        const unsigned index = SC_READ16(indices + i);
        y[i] = index == 0xffffu ? (int16_t)0 : x[index];
    }
}
