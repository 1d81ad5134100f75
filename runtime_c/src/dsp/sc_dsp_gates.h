/* What the tails of recurrent layers share. SPDX-License-Identifier: Apache-2.0
 *
 * They go over the units of a pass more than once, as registers do not hold the constants of all: first they
 * requantize and push, in the end they pop, the last unit first.
 *
 * A gate v, not saturated, is looked up by its saturated upper byte. Where the byte saturates the line does
 * not rise, so v's lower half may stand for the argument: sigma = lower half of (line + ((rise * v + 128) >>
 * 8)). The upper half holds what is left of the rise; whoever uses a sigma takes its lower half. The tanh is
 * computed by half: tanh(p) / 2 = sigma(2p) - 2^14, with the 2^14 in the constant that rounds.
 */
#ifndef SC_DSP_GATES_H
#define SC_DSP_GATES_H

#include "sc_dsp.h"

    .equ PASS_RECURRENT, 64 /* in sc_pass */

    /* Of a first walk. A shift by a register reads its lowest byte, so these two hold more above. */
    INPUT_SHIFT .req r0     /* - 256 * units left */
    RECURRENT_SHIFT .req r3 /* + 256 * units */
    ACC .req r1
    MULTIPLIERS .req r2
    POST .req r12
    POST_HALF .req lr

    /* Of the last walk; r4 is a line. */
    HALF .req r5      /* 128 */
    TANH_HALF .req r6 /* 64 - 2^21 */
    TABLE .req r7     /* line 0 */
    H .req r12        /* of the unit before: behind its h */

/* (ax >> s) * Mx + (ah >> s) * Mh, rounded; within 2^30 as both shifted sums fit 16 bits and M <= 2^14. */
.macro joint ax, ah, multipliers
    asr \ax, \ax, INPUT_SHIFT
    asr \ah, \ah, RECURRENT_SHIFT
    smlabb \ax, \ax, \multipliers, POST_HALF
    smlabt \ax, \ah, \multipliers, \ax
    asr \ax, \ax, POST
.endm

/* The next four rows, to r4-r7: 25 instructions. */
.macro requantize_rows
    ldm ACC!, {r4-r7}
    ldm MULTIPLIERS!, {r8, r9}
    ldrd r10, r11, [ACC, #PASS_RECURRENT - 16]
    joint r4, r10, r8
    joint r5, r11, r9
    ldm MULTIPLIERS!, {r8, r9}
    ldrd r10, r11, [ACC, #PASS_RECURRENT - 8]
    joint r6, r10, r8
    joint r7, r11, r9
.endm

.macro sigma v
    ssat r4, #8, \v, asr #8
    ldr r4, [TABLE, r4, lsl #2]
    smlatb \v, r4, \v, HALF /* |rise * p| + 128 < 2^26 */
    add \v, r4, \v, asr #8
.endm

.macro half_tanh v
    ssat r4, #8, \v, asr #7
    ldr r4, [TABLE, r4, lsl #2]
    smlatb \v, r4, \v, TANH_HALF
    add \v, r4, \v, asr #7
.endm

.macro table_constants
    .balign 4
.Ltanh_half_and_table:
    .word 64 - (1 << 21)
    .word sc_sigmoid_table + 512
.endm

#endif
