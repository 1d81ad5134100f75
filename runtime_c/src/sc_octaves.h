/* A function of octaves: 32 segments each. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_OCTAVES_H
#define SC_OCTAVES_H

#include "sc_arithmetic.h"

/* f(v), 0 <= v <= 32767: v has k bits more than the 6 that choose a segment, 0 <= k <= 9. */
static inline int32_t sc_octave_value(const int16_t *table, uint32_t v)
{
    const uint32_t bits = sc_bit_length(v >> 6);
    const int16_t *entry = table + 32u * bits + (v >> bits);
    const int32_t start = (int16_t)SC_READ16(entry);
    const int32_t rise = (int16_t)SC_READ16(entry + 1) - start; /* |rise| < 2^16, times less than 2^9 */
    const uint32_t power = (uint32_t)1 << bits;
    return start + ((rise * (int32_t)(v & (power - 1u)) + (int32_t)(power >> 1)) >> bits);
}

/* min(32767, v) for v <= 32768 */
static inline uint32_t sc_within_int16(uint32_t v)
{
    return v - (v >> 15);
}

#endif
