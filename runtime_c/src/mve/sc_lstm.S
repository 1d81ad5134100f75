/* LSTM, one step. SPDX-License-Identifier: Apache-2.0
 *
 * Eight units a pass: both matrices, then gates and state in vectors. Every register of shifts holds what
 * VSHL and VRSHL want, left in the lowest byte. A pass costs 144 instructions besides its two calls, a step
 * 46.
 *
 * Accumulators and multipliers are gathered from four addresses 32 bytes apart, those of units 0 2 4 6 of the
 * pass; units 1 3 5 7 lie 16 bytes further and go to the odd lanes, so that lanes are units in their order.
 * The last pass may have fewer units: its addresses of multipliers stay within them, accumulators beyond
 * are whatever lay there, and c and h are loaded and stored under a predicate. Multipliers are padded to
 * pairs of units, as this folder's kernels make the grain of an LSTM even.
 *
 *   r4 h  r5 c  r6 units left  r7 -input_shift  r8 16 - recurrent_shift  r9 -post.shift  r10 cell_bits - 15
 *   r11 r1 r2 tables  r0 11 - cell_bits  r3 2  q6 addresses of accumulators  q7 of multipliers
 */
#include "sc_isa.h"
#ifdef SC_HAS_LSTM
    .syntax unified
    .thumb
#include "sc_mve_gates.h"
    .section .text.sc_lstm, "ax", %progbits
    .balign 4
    .global sc_lstm
    .type sc_lstm, %function

    /* sc_lstm_layer */
    .equ LAYER_MULTIPLIERS, 40
    .equ LAYER_POST_SHIFT, 48
    .equ LAYER_UNITS, 52
    .equ LAYER_GRAIN, 54
    .equ LAYER_INPUT_SHIFT, 55
    .equ LAYER_RECURRENT_SHIFT, 56
    .equ LAYER_CELL_BITS, 57

    .equ GRAIN, ACC_END
    .equ FRAME, ACC_END + 8

    .equ PASS_MULTIPLIERS, 128  /* bytes of a pass */
    .equ ROWS, 32               /* of a pass */
    .equ GATE_I, 0
    .equ GATE_O, 4
    .equ GATE_F, 8
    .equ GATE_C, 12

/* p = eight pre-activations; x, h and m are spent. The first gate moves q7 on to the pass. */
.macro gate gate, p, x, h, m
    .if \gate == GATE_I
    vldrw.u32 \m, [q7, #PASS_MULTIPLIERS]!
    .else
    vldrw.u32 \m, [q7, #\gate]
    .endif
    joint b, \p, \x, \h, \m, q6, \gate, r7, r8, r9
    vldrw.u32 \m, [q7, #\gate + 16]
    joint t, \p, \x, \h, \m, q6, \gate + 16, r7, r8, r9
.endm

/* frame: 440 bytes */
    .thumb_func
sc_lstm:
    begin_layer FRAME, ROWS
    ldr r5, [sp, #FRAME + SAVED]
    ldr r2, [r0, #LAYER_MULTIPLIERS - MATRICES]
    ldrb r9, [r0, #LAYER_POST_SHIFT - MATRICES]
    ldrh r6, [r0, #LAYER_UNITS - MATRICES]
    ldrb r1, [r0, #LAYER_GRAIN - MATRICES]
    ldrb r7, [r0, #LAYER_INPUT_SHIFT - MATRICES]
    ldrb r8, [r0, #LAYER_RECURRENT_SHIFT - MATRICES]
    ldrb r10, [r0, #LAYER_CELL_BITS - MATRICES]
    str r1, [sp, #GRAIN]
    rsb r9, r9, #0
    rsb r7, r7, #0
    rsb r8, r8, #16
    sub r10, r10, #15

    mov r0, #0
    vidup.u32 q7, r0, #8
    vshl.i32 q7, q7, #2
    add r1, sp, #ACC
    vadd.i32 q6, q7, r1
    sub r2, r2, #PASS_MULTIPLIERS
    vadd.i32 q7, q7, r2
    ldr r11, =sc_mve_gate_tables

.Lpass:
    cmp r6, #8
    blo .Llast_pass
.Lcalls:
    call_matrices
    rsb r0, r10, #252  /* 11 - cell_bits in the lowest byte */
    add r1, r11, #TABLE_SIGMOID
    add r2, r11, #TABLE_TANH
    mov r3, #2
    vctp.16 r6

    gate GATE_I, q0, q1, q2, q3
    sigmoid q0, q1, q2, r11, r1
    gate GATE_C, q1, q2, q3, q4
    tanh q1, q2, q3, r11, r2, r3
    vmullb.s16 q2, q0, q1  /* i * g, |i * g| < 2^30 */
    vmullt.s16 q3, q0, q1
    vrshl.s32 q2, r10
    vrshl.s32 q3, r10
    gate GATE_F, q0, q1, q4, q5
    sigmoid q0, q1, q4, r11, r1
    vpst
    vldrht.u16 q1, [r5]
    vmullb.s16 q4, q0, q1  /* f * c, |f * c| < 2^30 */
    vmullt.s16 q5, q0, q1
    vadd.i32 q2, q2, q4
    vadd.i32 q3, q3, q5
    vqrshrnb.s32 q0, q2, #15
    vqrshrnt.s32 q0, q3, #15
    vpst
    vstrht.16 q0, [r5], #16
    vqrshl.s16 q0, r0  /* Q4.11: rounds where it shifts right, saturates where left */
    tanh q0, q1, q2, r11, r2, r3
    gate GATE_O, q1, q2, q3, q4
    sigmoid q1, q2, q3, r11, r1
    vqrdmulh.s16 q0, q0, q1  /* (2 o t + 2^15) >> 16 */
    vpst
    vstrht.16 q0, [r4], #16
    subs r6, r6, #8
    bhi .Lpass

    end_layer FRAME

/* Under 8 units: rows in whole grains; addresses of multipliers end with the pair of the last unit. */
.Llast_pass:
    ldr r0, [sp, #GRAIN]
    add r1, r6, r0
    sub r1, r1, #1
    rsb r0, r0, #0
    and r1, r1, r0
    lsl r1, r1, #2
    str r1, [sp, #CALL_INPUT + CALL_ROWS]
    str r1, [sp, #CALL_RECURRENT + CALL_ROWS]
    sub r0, r6, #1
    lsr r0, r0, #1
    vmov r1, s28  /* the lowest lane of q7 */
    add r1, r1, r0, lsl #5
    vdup.32 q0, r1
    vmin.u32 q7, q7, q0
    b .Lcalls
    .ltorg
    .size sc_lstm, . - sc_lstm
#endif
