/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_lookup(int16_t *y, const int16_t *x, unsigned n, const int16_t *table, unsigned shift)
{
    const uint32_t below = (1u << shift) - 1u;
    const int32_t half = (int32_t)(1u << (shift - 1u));
    for (unsigned i = 0; i < n; ++i) {
        const uint32_t at = (uint32_t)((int32_t)x[i] + 32768);
        const int16_t *entry = table + (at >> shift);
        const int32_t start = (int16_t)SC_READ16(entry);
        const int32_t rise = (int16_t)SC_READ16(entry + 1) - start; /* |rise| < 2^16, times less than 2^8 */
        y[i] = (int16_t)(start + ((rise * (int32_t)(at & below) + half) >> shift));
    }
}
