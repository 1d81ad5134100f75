/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

uint32_t sc_checksum16(uint32_t sum, const int16_t *v, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        sum = sum * 31u + (uint16_t)v[i];
    return sum;
}
