/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

uint32_t sc_checksum8(uint32_t sum, const int8_t *v, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        sum = sum * 31u + (uint8_t)v[i];
    return sum;
}
