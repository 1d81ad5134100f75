/* Blocks of 4 rows and 16 columns times a vector of int8. SPDX-License-Identifier: Apache-2.0
 *
 * A block is 16 bytes of each of its rows. Sums wrap modulo 2^32, and the whole sum is proven to fit.
 *
 *   r0 weights  r1 x  r2 acc  r3 columns  r4 r6 r8 r10 sums  r5 position  r7 start  r9 stride in bytes
 *   r11 end of acc  r12 x of this segment  lr blocks  q0 x  q1 q2 q3 weights
 *
 * A block costs 12 instructions, a row group 7, a call 13. Over one segment, a row group costs 7 and each of
 * its segments 5, a call 17.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_MVE_4X16
    .syntax unified
    .thumb
    .section .text.sc_matvec_mve_4x16, "ax", %progbits
    .balign 4
    .global sc_matvec_mve_4x16
    .type sc_matvec_mve_4x16, %function

    .equ SEGMENT_COLS, 255 * 16
    .equ AT_START, 8

.macro multiply row, weights
    vldrw.u32 \weights, [r0], #16
    vmladava.s8 \row, q0, \weights
.endm

/* The blocks that a count is followed by, of a segment of x. */
.macro blocks x
    ldrb r5, [r3], #1
    wls lr, r5, 2f
1:  ldrb r5, [r3], #1
    add r5, \x, r5, lsl #4
    vldrw.u32 q0, [r5]
    multiply r4, q1
    multiply r6, q2
    multiply r8, q3
    multiply r10, q1
    le lr, 1b
2:
.endm

/* frame: 48 bytes */
    .thumb_func
sc_matvec_mve_4x16:
    push {r0, r4-r11, lr}
    add r11, r2, r3, lsl #2
    ldm r0, {r0, r3, r7, r9}  /* weights, columns, start, cols | stride << 16 */
    uxth r5, r9
    lsr r9, r9, #16
    lsl r9, r9, #2
    movw r4, #SEGMENT_COLS
    cmp r5, r4
    bhi .Lsegments

.Lgroup:
    ldm r7, {r4, r6, r8, r10}
    add r7, r7, r9
    blocks r1
    stm r2!, {r4, r6, r8, r10}
    cmp r2, r11
    bne .Lgroup

.Ldone:
    pop {r1}
    strd r0, r3, [r1]
    str r7, [r1, #AT_START]
    pop {r4-r11, pc}

.Lsegments:
    push {r5, r11}
    add r11, r1, r5  /* end of x, while a row group is computed */
.Lgroup_of_segments:
    ldm r7, {r4, r6, r8, r10}
    add r7, r7, r9
    mov r12, r1
.Lsegment:
    blocks r12
    addw r12, r12, #SEGMENT_COLS
    cmp r12, r11
    blo .Lsegment
    stm r2!, {r4, r6, r8, r10}
    ldr r5, [sp, #4]
    cmp r2, r5
    bne .Lgroup_of_segments
    add sp, sp, #8
    b .Ldone
    .size sc_matvec_mve_4x16, . - sc_matvec_mve_4x16
#endif
