/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_repeat(int16_t *y, const int16_t *x, unsigned n, unsigned outer, unsigned inner)
{
    for (unsigned o = 0; o < outer; ++o)
        for (unsigned i = 0; i < n; ++i)
            for (unsigned k = 0; k < inner; ++k)
                *y++ = x[i];
}
