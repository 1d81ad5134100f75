/* Dense layer: from accumulators to outputs. SPDX-License-Identifier: Apache-2.0
 *
 * Eight rows in vectors, in 18 instructions; a call takes 11 besides. Accumulators are read in eights
 * (SC_PASS), multipliers and outputs only as there are rows. VMULLB takes the even multipliers, and the lower
 * halves of acc >> shift, which fits 16 bits; VMULLT the odd ones, and the upper halves of acc << (16 -
 * shift).
 *
 *   r0 -post.shift  r1 acc  r2 multipliers  r3 rows left  r4 -pre_shift  r5 16 - pre_shift  r12 y  q3 least
 */
#include "sc_isa.h"
#ifdef SC_HAS_DENSE_TAIL
    .syntax unified
    .thumb
    .section .text.sc_dense_tail, "ax", %progbits
    .balign 4
    .global sc_dense_tail
    .type sc_dense_tail, %function

    /* sc_dense_layer */
    .equ DENSE_POST_SHIFT, 28
    .equ DENSE_PRE_SHIFT, 35
    .equ DENSE_LEAST, 36

/* frame: 8 bytes */
    .thumb_func
sc_dense_tail:
    push {r4, r5}
    ldr r12, [sp, #8]
    ldrh r4, [r0, #DENSE_LEAST]
    vdup.16 q3, r4
    ldrb r4, [r0, #DENSE_PRE_SHIFT]
    ldrb r0, [r0, #DENSE_POST_SHIFT]
    rsb r5, r4, #16
    rsb r4, r4, #0
    rsb r0, r0, #0
.Leight:
    vctp.16 r3
    vld20.32 {q0, q1}, [r1]
    vld21.32 {q0, q1}, [r1]!
    vpst
    vldrht.u16 q2, [r2], #16
    vshl.s32 q0, r4
    vshl.s32 q1, r5
    vmullb.s16 q0, q0, q2
    vmullt.s16 q1, q1, q2
    vrshl.s32 q0, r0
    vrshl.s32 q1, r0
    vqmovnb.s32 q2, q0
    vqmovnt.s32 q2, q1
    vmax.s16 q2, q2, q3
    vpst
    vstrht.16 q2, [r12], #16
    subs r3, r3, #8
    bhi .Leight
    pop {r4, r5}
    bx lr
    .size sc_dense_tail, . - sc_dense_tail
#endif
