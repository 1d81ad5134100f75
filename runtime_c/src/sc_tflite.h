/* The arithmetic of TensorFlow Lite's integer kernels. SPDX-License-Identifier: Apache-2.0
 *
 * Layers of already quantized files compute as those do (docs/numerics.md): ties go away from zero where
 * `away` says so, factors have 31 bits. Nothing here branches on data.
 */
#ifndef SC_TFLITE_H
#define SC_TFLITE_H

#include "sc_arithmetic.h"

/* v / 2^shift, ties away from zero; |v| + 2^(shift-1) < 2^31. */
static inline int32_t sc_away(int32_t v, unsigned shift)
{
    const int32_t half = (int32_t)((UINT32_C(1) << shift) >> 1);
    return (v + half - ((int32_t)((uint32_t)v >> 31) & (int32_t)(half != 0))) >> shift;
}

/* v times a factor, a multiplier of 31 bits and a word of two shifts: left in the lowest byte, then right.
 * |v| * 2^left < 2^30, so that the high half of twice the product has less than 30 bits, too. */
static inline int32_t sc_factor(int32_t v, const uint32_t *factor)
{
    const int32_t multiplier = (int32_t)SC_READ32(factor);
    const uint32_t shifts = SC_READ32(factor + 1);
    const int64_t product = (int64_t)(v * (int32_t)(UINT32_C(1) << (shifts & 0xffu))) * multiplier;
    return sc_away((int32_t)((product + (INT32_C(1) << 30)) >> 31), (unsigned)(shifts >> 8));
}

/* a if mask is all ones, b if it is 0. */
static inline int32_t sc_choose(uint32_t mask, int32_t a, int32_t b)
{
    return (int32_t)(((uint32_t)a & mask) | ((uint32_t)b & ~mask));
}

/* v within least..greatest; |v| < 2^30. */
static inline int32_t sc_clamp(int32_t v, int32_t least, int32_t greatest)
{
    uint32_t under = (uint32_t)(v - least) >> 31, over = (uint32_t)(greatest - v) >> 31;
    SC_OPAQUE(under);
    SC_OPAQUE(over);
    return sc_choose(0u - over, greatest, sc_choose(0u - under, least, v));
}

/* exp(a) in Q0.15 for a <= 0 with so many integer bits, 1 to 7. The part below a quarter is a polynomial of
 * degree 4 around -1/8, each bit above it a factor. */
static inline int32_t sc_exp_of_negative(int32_t a, unsigned integer_bits)
{
    static const uint16_t factors[7] SC_FLASH = {25520, 19875, 12055, 4435,
                                                 600,   11,    0}; /* exp(-1/4), exp(-1/2), ... */
    const unsigned fraction = 15 - integer_bits;
    const int32_t quarter = INT32_C(1) << (fraction - 2);
    const int32_t below = (a & (quarter - 1)) - quarter;                     /* -quarter..-1 */
    const int32_t x = below * (int32_t)(UINT32_C(1) << integer_bits) + 4096; /* within 1/8 */
    const int32_t x2 = sc_mul15(x, x), x3 = sc_mul15(x2, x), x4 = sc_mul15(x2, x2);
    const int32_t tail = sc_away(sc_mul15(sc_away(x4, 2) + x3, 10923) + x2, 1); /* x^2/2 + x^3/6 + x^4/24 */
    int32_t result = sc_sat16(28918 + sc_mul15(x + tail, 28918));               /* exp(-1/8) */
    const int32_t rest = below - a;
    for (unsigned i = 0; i < integer_bits + 2; ++i) {
        uint32_t bit = (uint32_t)(rest >> (fraction - 2 + i)) & 1u;
        SC_OPAQUE(bit);
        result = sc_choose(0u - bit, sc_mul15(result, (int32_t)SC_READ16(factors + i)), result);
    }
    if (integer_bits > 5) { /* the same for every datum */
        uint32_t under = (uint32_t)(a + (INT32_C(32) << fraction)) >> 31;
        SC_OPAQUE(under);
        result = sc_choose(0u - under, 0, result);
    }
    uint32_t some = (uint32_t)a >> 31; /* 0 for a = 0 */
    SC_OPAQUE(some);
    return sc_choose(0u - some, result, 32767);
}

/* 2 / (1 + a) in Q2.13 for a in Q0.15 from 0 to 1, by three of Newton's steps from 48/17 - 32/17 * half. */
static inline int32_t sc_reciprocal(int32_t a)
{
    const int32_t half = (a + 32768) >> 1;
    int32_t x = 23130 + sc_mul15(half, -15420);
    for (unsigned i = 0; i < 3; ++i)
        x = sc_sat16(x + sc_sat16(sc_mul15(x, 8192 - sc_mul15(half, x)) * 4));
    return x;
}

#endif
