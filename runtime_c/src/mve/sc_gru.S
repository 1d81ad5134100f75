/* GRU with linear_before_reset = 1, one step. SPDX-License-Identifier: Apache-2.0
 *
 * Eight units a pass: both matrices, then gates and state in vectors. A pass costs 124 instructions besides
 * its two calls, a step 44.
 *
 * Rows are gathered from four addresses, those of units 0 2 4 6 of the pass; the rows of units 1 3 5 7 lie
 * one unit further and go to the odd lanes, so that lanes are units in their order. The last pass may have
 * fewer units: its addresses end with the pair of the last unit, and h is loaded and stored under a
 * predicate. Multipliers are padded to pairs of units, as this folder's kernels make the grain even.
 *
 *   r4 h  r5 multipliers  r6 units left  r7 -input_shift  r8 16 - recurrent_shift  r9 -post.shift
 *   r10 r11 minus the candidate's shifts  r0 r2 r3 tables  r1 acc  r12 bytes of z and r, then 2
 *   q5 8 k for the pair of units k  q6 addresses of multipliers  q7 of accumulators
 */
#include "sc_isa.h"
#ifdef SC_HAS_GRU
    .syntax unified
    .thumb
#include "sc_mve_gates.h"
    .section .text.sc_gru, "ax", %progbits
    .balign 4
    .global sc_gru
    .type sc_gru, %function

    /* sc_gru_layer */
    .equ GRU_MULTIPLIERS, 40
    .equ GRU_POST_SHIFT, 48
    .equ GRU_CANDIDATE_INPUT_SHIFT, 56
    .equ GRU_CANDIDATE_RECURRENT_SHIFT, 64
    .equ GRU_UNITS, 68
    .equ GRU_GRAIN, 70
    .equ GRU_INPUT_SHIFT, 71
    .equ GRU_RECURRENT_SHIFT, 72

    .equ PAIRS, ACC_END  /* q5 of a pass */
    .equ GATES, ACC_END + 16  /* bytes of z and r of a pass */
    .equ GRAIN, ACC_END + 20
    .equ FRAME, ACC_END + 24
    .equ ROWS, 24  /* of a pass */

.macro negative_shift to, offset
    ldrb \to, [r0, #\offset - MATRICES]
    rsb \to, \to, #0
.endm

/* p = eight pre-activations of a gate at `row` of each unit; q2 q3 q4 are spent. */
.macro gate row, p
    vldrw.u32 q4, [q6, #\row]
    joint b, \p, q2, q3, q4, q7, \row, r7, r8, r9
    vldrw.u32 q4, [q6, #\row + 8]
    joint t, \p, q2, q3, q4, q7, \row + 8, r7, r8, r9
.endm

/* The candidate's two parts of four units: px in x, sat16(ph) in the even or odd (b or t) lanes of ph. x and
 * h may be the same register. */
.macro candidate half, row, x, h, m, ph
    vldrw.u32 \m, [q6, #\row]
    vldrw.u32 \h, [q7, #\row + PASS_RECURRENT]
    vshl.s32 \h, r8
    vmullt.s16 \h, \h, \m
    vrshl.s32 \h, r11
    vqmovn\half\().s32 \ph, \h
    vldrw.u32 \x, [q7, #\row]
    vshl.s32 \x, r7
    vmullb.s16 \x, \x, \m
    vrshl.s32 \x, r10
.endm

/* frame: 456 bytes */
    .thumb_func
sc_gru:
    begin_layer FRAME, ROWS
    ldr r5, [r0, #GRU_MULTIPLIERS - MATRICES]
    ldrh r6, [r0, #GRU_UNITS - MATRICES]
    ldrb r1, [r0, #GRU_GRAIN - MATRICES]
    str r1, [sp, #GRAIN]
    negative_shift r7, GRU_INPUT_SHIFT
    ldrb r8, [r0, #GRU_RECURRENT_SHIFT - MATRICES]
    rsb r8, r8, #16
    negative_shift r9, GRU_POST_SHIFT
    negative_shift r10, GRU_CANDIDATE_INPUT_SHIFT
    negative_shift r11, GRU_CANDIDATE_RECURRENT_SHIFT
    mov r0, #0
    vidup.u32 q5, r0, #8
    vstrw.32 q5, [sp, #PAIRS]
    mov r0, #64
    str r0, [sp, #GATES]

.Lpass:
    cmp r6, #8
    blo .Llast_pass
.Lcalls:
    call_matrices
    vctp.16 r6
    vldrw.u32 q5, [sp, #PAIRS]
    vshl.i32 q6, q5, #1
    add r1, sp, #ACC
    vadd.i32 q7, q6, r1
    vadd.i32 q6, q6, r5
    ldr r0, =sc_mve_gate_tables
    add r2, r0, #TABLE_SIGMOID
    add r3, r0, #TABLE_TANH

    gate 0, q0
    sigmoid q0, q2, q3, r0, r2
    gate 4, q1
    sigmoid q1, q2, q3, r0, r2

    ldr r12, [sp, #GATES]
    add r1, r1, r12
    add r12, r5, r12
    vadd.i32 q7, q5, r1
    vadd.i32 q6, q5, r12
    candidate b, 0, q3, q3, q4, q2
    candidate t, 4, q4, q4, q5, q2
    vqrdmulh.s16 q2, q2, q1  /* r * ph: (2 r ph + 2^15) >> 16 */
    vmovlb.s16 q1, q2
    vmovlt.s16 q2, q2
    vadd.i32 q3, q3, q1      /* |px| <= 2^29 */
    vadd.i32 q4, q4, q2
    vqmovnb.s32 q1, q3
    vqmovnt.s32 q1, q4
    mov r12, #2
    tanh q1, q2, q3, r0, r3, r12

    vpst
    vldrht.u16 q2, [r4]
    vmullb.s16 q3, q0, q2    /* z * h - z * n: |z * (h - n)| <= 32767 * 65535 < 2^31 */
    vmullt.s16 q4, q0, q2
    vmullb.s16 q5, q0, q1
    vmullt.s16 q6, q0, q1
    vsub.i32 q3, q3, q5
    vsub.i32 q4, q4, q6
    vrshrnb.i32 q2, q3, #15  /* modulo 2^16, as is the sum, which lies between n and h */
    vrshrnt.i32 q2, q4, #15
    vadd.i16 q1, q1, q2
    vpst
    vstrht.16 q1, [r4], #16
    add r5, r5, #4 * ROWS
    subs r6, r6, #8
    bhi .Lpass
    end_layer FRAME

/* Under 8 units: rows in whole grains; addresses end with the pair of the last unit. */
.Llast_pass:
    ldr r0, [sp, #GRAIN]
    add r1, r6, r0
    sub r1, r1, #1
    rsb r0, r0, #0
    and r1, r1, r0
    lsl r0, r1, #3
    str r0, [sp, #GATES]
    add r1, r1, r1, lsl #1
    str r1, [sp, #CALL_INPUT + CALL_ROWS]
    str r1, [sp, #CALL_RECURRENT + CALL_ROWS]
    sub r0, r6, #1
    lsr r0, r0, #1
    lsl r0, r0, #3
    vldrw.u32 q0, [sp, #PAIRS]
    vdup.32 q1, r0
    vmin.u32 q0, q0, q1
    vstrw.32 q0, [sp, #PAIRS]
    b .Lcalls
    .ltorg
    .size sc_gru, . - sc_gru
#endif
