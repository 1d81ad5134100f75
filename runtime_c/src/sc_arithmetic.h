/* The scalar arithmetic of docs/numerics.md. SPDX-License-Identifier: Apache-2.0
 *
 * Nothing here branches on data. Negative numbers are shifted right only (arithmetically, which
 * stepcell.h checks), and multiplied instead of being shifted left.
 */
#ifndef SC_ARITHMETIC_H
#define SC_ARITHMETIC_H

#include "stepcell.h"

extern const uint32_t sc_sigmoid_table[256];

/* Ties towards +infinity. |v| + 2^(shift-1) < 2^31: accumulators are proven below 2^31 - 2^15. */
static inline int32_t sc_round(int32_t v, sc_shift by)
{
    return (v + by.half) >> by.shift;
}

/* Hides a value's origin from the optimizer, which would turn masks back into branches on the data. */
#if defined(__GNUC__)
#define SC_OPAQUE(v) __asm__("" : "+r"(v))
#else
#define SC_OPAQUE(v) ((void)0)
#endif

/* Clamp to int16; compilers left alone make conditional moves or branches of it. */
static inline int32_t sc_sat16(int32_t v)
{
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__)
    int32_t clamped;
    __asm__("ssat %0, #16, %1" : "=r"(clamped) : "r"(v));
    return clamped;
#else
    uint32_t outside = ((uint32_t)v + 32768u) >> 16; /* 0 within int16, at most 65535 */
    uint32_t sign = (uint32_t)(v >> 31);
    SC_OPAQUE(outside);
    SC_OPAQUE(sign);
    const uint32_t mask = 0u - ((outside + 65535u) >> 16); /* all ones outside */
    return (int32_t)(((uint32_t)v & ~mask) | ((32767u ^ sign) & mask));
#endif
}

/* At least 0. */
static inline int32_t sc_relu1(int32_t v)
{
    int32_t sign = v >> 31;
    SC_OPAQUE(sign);
    return v & ~sign;
}

/* min(127, (v + 128) >> 8), v int16: the shift gives -128..128, and only 128 is one too many. */
static inline int32_t sc_view1(int32_t v)
{
    int32_t rounded = (v + 128) >> 8;
    return rounded - ((rounded + 128) >> 8);
}

/* int16 Q4.11 to Q0.15, 0..32767, along a line of the table: rise <= 1023, so |rise * p| + 128 < 2^26. */
static inline int32_t sc_sigmoid1(int32_t p)
{
    uint32_t line = SC_READ32(&sc_sigmoid_table[(uint32_t)(p + 32768) >> 8]);
    return (int32_t)(line & 0xffffu) + (((int32_t)(line >> 16) * p + 128) >> 8);
}

/* int16 Q4.11 to Q0.15, -32768..32766, as 2 * sigmoid(2p) - 1. */
static inline int32_t sc_tanh1(int32_t p)
{
    return 2 * sc_sigmoid1(sc_sat16(2 * p)) - 32768;
}

/* (a * b) / 2^15, rounded; |a|, |b| <= 2^15. */
static inline int32_t sc_mul15(int32_t a, int32_t b)
{
    return (a * b + 16384) >> 15;
}

/* One pre-activation from two accumulators that start with their halves. Both shifted values fit 16 bits and
 * both multipliers are at most 2^14, so the sum stays within 2^30. */
static inline int32_t sc_joint(int32_t ax, int32_t ah, uint32_t multipliers, unsigned input_shift,
                               unsigned recurrent_shift, sc_shift post)
{
    int32_t x = (ax >> input_shift) * (int32_t)(multipliers & 0xffffu);
    int32_t h = (ah >> recurrent_shift) * (int32_t)(multipliers >> 16);
    return sc_sat16(sc_round(x + h, post));
}

/* |v|, v int16: 0..32768 */
static inline uint32_t sc_magnitude(int32_t v)
{
    const int32_t sign = v >> 31;
    return (uint32_t)((v ^ sign) - sign);
}

/* How many bits v has, 0 for 0; by halving where no instruction counts leading zeros. */
static inline unsigned sc_bit_length(uint32_t v)
{
#if defined(__GNUC__) && defined(__ARM_FEATURE_CLZ)
    return 32u - (unsigned)__builtin_clz(v | 1u) - (v == 0u);
#else
    unsigned length = 0;
    for (unsigned half = 16; half != 0; half >>= 1) {
        const uint32_t above = v >> half;
        uint32_t negative = 0u - above;
        SC_OPAQUE(negative);
        const unsigned by = half * (unsigned)((above | negative) >> 31); /* 0 if no bit lies above */
        v >>= by;
        length += by;
    }
    return length + (unsigned)v; /* v is 0 or 1 now */
#endif
}

#endif
