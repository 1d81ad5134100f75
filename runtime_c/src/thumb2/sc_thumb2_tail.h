/* Gates, for the tails of layers. SPDX-License-Identifier: Apache-2.0
 *
 * Throughout: r1 accumulators of the input matrix, r2 multipliers, r4 and r5 shifts of both accumulators,
 * r6 and r7 half and shift of their sum, r8 the line for 0 of the table of the logistic function, r9 = 128.
 * r0 is the result, r3 and r10 are lost.
 */
#ifndef SC_THUMB2_TAIL_H
#define SC_THUMB2_TAIL_H
#include "sc_thumb2.h"

#define PASS_RECURRENT 128 /* sc_pass */
#define LINE_OF_ZERO 512   /* sc_sigmoid_table */

/* Both accumulators of a row, shifted, and their multipliers, times each other and summed onto halves: 8
 * instructions. Shifted, accumulators fit 16 bits, and multipliers are at most 2^14: |sum| <= 2^30, with the
 * half below 2^31. The sum is rounded, not saturated: 9 instructions. */
.macro joint
    ldr r3, [r1, #PASS_RECURRENT]
    ldr r0, [r1], #4
    ldrh r10, [r2], #2
    asr r3, r3, r5
    asr r0, r0, r4
    mla r0, r0, r10, r6
    ldrh r10, [r2], #2
    mla r0, r3, r10, r0
    asr r0, r0, r7
.endm

/* The logistic function of r0 * 2^(8 - \shift) in Q4.11, not saturated: 6 instructions. Its upper part picks
 * the line, saturated to -128..127; the outermost lines do not rise, so they may be multiplied by anything.
 * \half is a register that holds 2^(\shift - 1). */
.macro sigmoid_scaled shift, half
    ssat r3, #8, r0, asr #\shift
    ldr r3, [r8, r3, lsl #2]
    lsr r10, r3, #16
    mla r0, r0, r10, \half
    uxth r3, r3
    add r0, r3, r0, asr #\shift
.endm

.macro sigmoid
    sigmoid_scaled 8, r9
.endm

/* tanh(r0) / 2 = sigma(2 r0) - 1/2: 8 instructions. */
.macro half_tanh
    ssat r3, #8, r0, asr #7
    ldr r3, [r8, r3, lsl #2]
    lsr r10, r3, #16
    mul r0, r0, r10
    add r0, r0, #64
    uxth r3, r3
    add r0, r3, r0, asr #7
    sub r0, r0, #16384
.endm

#endif
