/* Gates, for the tails of layers. SPDX-License-Identifier: Apache-2.0
 *
 * Throughout: r4 accumulators of the input matrix, r5 multipliers, r6 = PASS_RECURRENT, r7 the table of the
 * logistic function, r8 and r9 shifts of both accumulators, r10 and r11 half and shift of their sum.
 * r0 is the result, r1 to r3 are lost.
 */
#ifndef SC_THUMB1_TAIL_H
#define SC_THUMB1_TAIL_H
#include "sc_thumb1.h"

#define PASS_RECURRENT 128 /* sc_pass */

/* Both accumulators of a row, r0 and r1, shifted, times their multipliers in r2: 8 instructions. Shifted, they
 * fit 16 bits, and multipliers are at most 2^14. */
.macro products
    mov r3, r8
    asrs r0, r0, r3
    mov r3, r9
    asrs r1, r1, r3
    uxth r3, r2
    muls r0, r3, r0
    lsrs r2, r2, #16
    muls r1, r2, r1
.endm

/* Their sum, rounded, not saturated: 15 instructions. |sum| <= 2^30, with the half below 2^31. */
.macro joint
    ldr r1, [r4, r6]
    ldm r4!, {r0}
    ldm r5!, {r2}
    products
    adds r0, r0, r1
    add r0, r10
    mov r3, r11
    asrs r0, r0, r3
.endm

/* The logistic function of r0 * 2^(8 - \shift) in Q4.11, not saturated: 15 instructions. Its upper part picks
 * the line, saturated to -128..127; the outermost lines do not rise, so they may be multiplied by anything. */
.macro sigmoid_scaled shift, half
    asrs r1, r0, #\shift
    subs r1, #127
    asrs r2, r1, #31
    ands r1, r2
    adds r1, #255
    asrs r2, r1, #31
    bics r1, r2
    lsls r1, r1, #2
    ldr r1, [r7, r1]
    lsrs r2, r1, #16
    muls r0, r2, r0
    adds r0, #\half
    asrs r0, r0, #\shift
    uxth r1, r1
    adds r0, r0, r1
.endm

.macro sigmoid
    sigmoid_scaled 8, 128
.endm

/* tanh(r0) / 2 + 1/2 = sigma(2 r0): 15 instructions. */
.macro sigmoid_of_double
    sigmoid_scaled 7, 64
.endm

#endif
