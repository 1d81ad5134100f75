/* Unsigned division. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_DIVIDE_H
#define SC_DIVIDE_H

#include "sc_arithmetic.h"

#if defined(__ARM_FEATURE_IDIV) || defined(__aarch64__) || defined(__riscv_div) || defined(__x86_64__)
#define SC_HAS_DIVIDER 1
#else
#define SC_HAS_DIVIDER 0
#endif

/* numerator / divisor, 1 <= divisor <= 2^30. */
static inline uint32_t sc_divide(uint32_t numerator, uint32_t divisor)
{
#if SC_HAS_DIVIDER
    return numerator / divisor;
#else
    /* By shifting and subtracting, a fixed 32 rounds; the remainder never reaches 2^31. */
    uint32_t quotient = 0, remainder = 0;
    for (unsigned bit = 32; bit != 0; --bit) {
        remainder = (remainder << 1) | ((numerator >> (bit - 1)) & 1u);
        uint32_t fits = 1u - ((remainder - divisor) >> 31); /* 1 if remainder >= divisor */
        SC_OPAQUE(fits);
        remainder -= divisor * fits;
        quotient = (quotient << 1) | fits;
    }
    return quotient;
#endif
}

#endif
