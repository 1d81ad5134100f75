/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_constant(int16_t *y, const uint16_t *values, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = (int16_t)SC_READ16(values + i);
}
