/* Dense rows times 16-bit inputs: a word is four columns of one row. SPDX-License-Identifier: Apache-2.0
 *
 * Bytes 0 and 2 are columns 0 and 1, bytes 1 and 3 columns 2 and 3, as SXTB16 extends them. Sums are plain
 * and proven to fit int32; two products of a SMLAD are at most 2^23.
 *
 *   r0 weights  r1 x  r2 end of x  r3-r6 words  r7 r8 x of four columns  r9-r12 acc  lr halves of a word
 *
 * Four columns cost 18 instructions, a turn of up to eight 2, a row group 9 besides; a call 22.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_QUAD_DENSE_S16
#include "sc_dsp.h"

    .equ SAVED_START, 4
    .equ SAVED_ACC, 16
    .equ SAVED_AT, 24

/* Four columns of a row; the word is spent. */
.macro add_row word, acc
    sxtb16 lr, \word
    sxtb16 \word, \word, ror #8
    smlad \acc, lr, r7, \acc
    smlad \acc, \word, r8, \acc
.endm

.macro add_four
    ldm.w r0!, {r3-r6}
    ldm r1!, {r7, r8}
    add_row r3, r9
    add_row r4, r10
    add_row r5, r11
    add_row r6, r12
.endm

/* frame: 64 bytes */
    function sc_matvec_quad_dense_s16
    push {r0, r4-r11, lr}
    mov r7, r2                  /* acc */
    add r8, r2, r3, lsl #2      /* end of acc */
    ldm r0, {r0, r3-r5}         /* weights, -, start, cols | stride << 16 */
    uxth r9, r5
    lsr r5, r5, #16             /* stride in words */
    add r2, r1, r9, lsl #1
    lsls r9, r9, #29            /* N: fours of columns are odd in number */
    adr.w r6, .Lfours
    bpl 1f
    adr.w r6, .Lodd_four
1:  push {r1, r4-r8}

.Lgroup:
    ldm r4, {r9-r12}
    add r4, r4, r5, lsl #2
    str r4, [sp, #SAVED_START]
    mov pc, r6
    .balign 4
.Lfours:
    add_four
.Lodd_four:
    add_four
    cmp r1, r2
    bne .Lfours

    ldm sp, {r1, r4-r8}         /* x, start, stride, into the loop, acc, end of acc */
    stm r7!, {r9-r12}
    str r7, [sp, #SAVED_ACC]
    cmp r7, r8
    bne .Lgroup

    ldr r1, [sp, #SAVED_AT]
    str r0, [r1]
    str r4, [r1, #CURSOR_START]
    add sp, sp, #28
    pop {r4-r11, pc}
    end_function sc_matvec_quad_dense_s16
#endif
