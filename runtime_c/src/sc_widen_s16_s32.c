/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_widen_s16_s32(int32_t *to, const int16_t *from, unsigned n, unsigned padded)
{
    for (unsigned i = 0; i < n; ++i)
        to[i] = from[i];
    for (unsigned i = n; i < padded; ++i)
        to[i] = 0;
}
