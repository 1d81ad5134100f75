/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_widen_s8_s16(int16_t *to, const int8_t *from, unsigned n, unsigned padded)
{
    for (unsigned i = 0; i < n; ++i)
        to[i] = from[i];
    for (unsigned i = n; i < padded; ++i)
        to[i] = 0;
}
