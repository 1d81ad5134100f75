/* Dense rows times a vector of int16, 8 columns of 8 rows at a time. SPDX-License-Identifier: Apache-2.0
 *
 * A row group is 8 rows in tiles of 8 columns: 8 bytes of each row, which VLDRB.S16 widens. As in
 * sc_matvec_mve_dense, its sums are the eight even core registers, so the loop over tiles, two a turn, is by
 * where x ends. Sums wrap modulo 2^32, and the whole sum is proven to fit.
 *
 *   r0 r2 r4 r6 r8 r10 r12 lr sums  r1 x  r3 weights  r5 acc  r7 start  r9 end of x  r11 acc's end, then x
 *
 * 16 columns cost 36 instructions, a row group 7 besides, a call 15.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_MVE_DENSE_S16
    .syntax unified
    .thumb
    .section .text.sc_matvec_mve_dense_s16, "ax", %progbits
    .balign 4
    .global sc_matvec_mve_dense_s16
    .type sc_matvec_mve_dense_s16, %function

    .equ AT_START, 8

.macro multiply row, weights
    vldrb.s16 \weights, [r3], #8
    vmladava.s16 \row, q0, \weights
.endm

.macro tile
    vldrh.u16 q0, [r1], #16
    multiply r0, q1
    multiply r2, q2
    multiply r4, q3
    multiply r6, q1
    multiply r8, q2
    multiply r10, q3
    multiply r12, q1
    multiply lr, q2
.endm

/* frame: 48 bytes */
    .thumb_func
sc_matvec_mve_dense_s16:
    push {r0, r4-r11, lr}
    mov r5, r2
    add r11, r2, r3, lsl #2  /* end of acc */
    ldm r0, {r3, r4, r7, r9}  /* weights, -, start, cols | stride << 16 */
    lsr r4, r9, #16
    lsl r4, r4, #2            /* stride in bytes */
    uxth r9, r9
    push {r4, r11}
    mov r11, r1
    add r9, r1, r9, lsl #1

.Lgroup:
    ldm r7, {r0, r2, r4, r6, r8, r10, r12, lr}
.Ltiles:
    tile
    tile
    cmp r1, r9
    bne .Ltiles
    stm r5!, {r0, r2, r4, r6, r8, r10, r12, lr}
    mov r1, r11
    ldrd r0, r2, [sp]
    add r7, r7, r0
    cmp r5, r2
    bne .Lgroup

    add sp, sp, #8
    pop {r0}
    str r3, [r0]
    str r7, [r0, #AT_START]
    pop {r4-r11, pc}
    .size sc_matvec_mve_dense_s16, . - sc_matvec_mve_dense_s16
#endif
