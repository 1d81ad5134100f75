/* LSTM: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * The first walk costs 26 instructions a unit and 2 for each two, the last one 32 and 2 for each two with
 * cell_bits 11 to 14, 36 a unit with others; a call 30.
 */
#include "sc_isa.h"
#ifdef SC_HAS_LSTM_TAIL
#include "sc_dsp_gates.h"

    /* offsets in sc_lstm_layer */
    .equ LAYER_POST, 44
    .equ LAYER_INPUT_SHIFT, 55
    .equ LAYER_RECURRENT_SHIFT, 56
    .equ LAYER_CELL_BITS, 57
    .equ SAVED, 40 /* bytes: h and c lie beyond */

    /* Of the last walk; r0-r3 are i o f c of a unit. */
    FRESH_HALF .req r8 /* rounds i * g and, above, the sum that it goes into */
    FRESH .req r9      /* shift - 256 * units left */
    CELL .req r10      /* how far c' is shifted left to have its Q4.11 in the upper half */
    OUT_HALF .req r11  /* 8192 */
    C .req lr

/* c' = sat16((f * c + (i * g rounded) + 2^14) >> 15), the last half being part of FRESH_HALF. */
.macro next_cell
    smlabb r0, r0, r3, FRESH_HALF   /* within 2^31: 2^30, 2^29 and a half */
    asr r0, r0, FRESH
    ldrsh r3, [C, #-2]!
    smlabb r0, r2, r3, r0
    ssat r0, #16, r0, asr #15
    strh r0, [C]
.endm

.macro next_output
    smlabb r0, r0, r1, OUT_HALF
    asr r0, r0, #14
    strh r0, [H, #-2]!
.endm

/* cell_bits 11 to 14: c' rounded to Q4.11 in an upper half, where nothing can saturate. */
.macro finish_unit
    pop {r0-r3}
    sigma r0
    sigma r1
    sigma r2
    half_tanh r3
    next_cell
    lsl r0, r0, CELL
    add r0, r0, #0x8000
    ssat r4, #8, r0, asr #23
    ldr r4, [TABLE, r4, lsl #2]
    smlatt r0, r4, r0, TANH_HALF
    add r0, r4, r0, asr #7
    next_output
.endm

/* Any cell_bits. */
.macro finish_any_unit
    pop {r0-r3}
    sigma r0
    sigma r1
    sigma r2
    half_tanh r3
    lsl r3, r3, #1
    next_cell
    lsl r0, r0, FRESH   /* 16 times the argument, at most 2^30 */
    add r0, r0, #8
    asr r0, r0, #4
    half_tanh r0
    next_output
.endm

/* frame: 104 bytes */
    function sc_lstm_tail
    push {r0, r4-r11, lr}
    ldrb r4, [r0, #LAYER_RECURRENT_SHIFT]
    ldrb r5, [r0, #LAYER_INPUT_SHIFT]
    ldrd POST_HALF, POST, [r0, #LAYER_POST]
    sub r0, r5, r3, lsl #8
    orr r3, r4, r3, lsl #8
    lsls r4, r3, #23    /* N: the lowest bit of units */
    bmi 2f
1:  requantize_rows
    push {r4-r7}
2:  requantize_rows
    push {r4-r7}
    adds r0, r0, #512
    bmi 1b

    lsr r3, r3, #8
    add r0, sp, r3, lsl #4
    ldrd H, C, [r0, #SAVED]
    ldr r0, [r0]
    add C, C, r3, lsl #1
    add H, H, r3, lsl #1
    ldrb r0, [r0, #LAYER_CELL_BITS]
    mov HALF, #128
    ldrd TANH_HALF, TABLE, .Ltanh_half_and_table
    mov OUT_HALF, #8192
    rsb CELL, r0, #15
    movw FRESH_HALF, #0x8001
    lsl FRESH_HALF, FRESH_HALF, CELL
    sub FRESH, CELL, #1
    cmp FRESH, #3
    bhi .Lany
    lsr FRESH_HALF, FRESH_HALF, #2
    add CELL, CELL, #12
    sub FRESH, FRESH, r3, lsl #8
    lsls r4, r3, #31
    bmi 2f
1:  finish_unit
2:  finish_unit
    adds FRESH, FRESH, #512
    bmi 1b
    pop {r0, r4-r11, pc}

.Lany:
    lsr FRESH_HALF, FRESH_HALF, #1
    sub FRESH, CELL, r3, lsl #8
1:  finish_any_unit
    adds FRESH, FRESH, #256
    bmi 1b
    pop {r0, r4-r11, pc}

    table_constants
    end_function sc_lstm_tail
#endif
