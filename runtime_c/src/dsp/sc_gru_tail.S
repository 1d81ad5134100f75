/* GRU with linear_before_reset = 1: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * Three walks over the units: one requantizes z and r, one n, two units a turn (29 and 21 instructions), the
 * last one computes h' (26 a unit); a call 36. If the units are odd in number, the first two compute one more
 * and the last one skips it; its multipliers are padding, as the grain is even.
 */
#include "sc_isa.h"
#ifdef SC_HAS_GRU_TAIL
#include "sc_dsp_gates.h"

    /* offsets in sc_gru_layer */
    .equ LAYER_POST, 44
    .equ LAYER_CANDIDATE_INPUT, 52
    .equ LAYER_CANDIDATE_RECURRENT, 60
    .equ LAYER_GRAIN, 70
    .equ LAYER_INPUT_SHIFT, 71
    .equ LAYER_RECURRENT_SHIFT, 72
    .equ SAVED, 56 /* bytes: h lies beyond */

    /* Of the second walk; r4 r5 and r6 r7 are the x and h parts of two units, r10 r11 their multipliers. */
    PX_HALF .req r12
    PX_SHIFT .req lr
    PH_HALF .req r8
    PH_SHIFT .req r9

    /* Of the last walk; r0-r3 are z r px ph of a unit. */
    GATES .req r8 /* z and r of the unit */
    ONE_HALF .req r9 /* 2^14 */
    UNITS .req r10

/* |px| <= 2^29 is not saturated alone, but with what the reset gate lets through. */
.macro candidate px, ph, multipliers
    asr \px, \px, INPUT_SHIFT
    asr \ph, \ph, RECURRENT_SHIFT
    smlabb \px, \px, \multipliers, PX_HALF
    asr \px, \px, PX_SHIFT
    smlabt \ph, \ph, \multipliers, PH_HALF
    asr \ph, \ph, PH_SHIFT
    ssat \ph, #16, \ph
    push {\px, \ph}
.endm

/* frame: 120 bytes */
    function sc_gru_tail
    push {r0-r12, lr}
    ldrb r4, [r0, #LAYER_RECURRENT_SHIFT]
    ldrb r5, [r0, #LAYER_INPUT_SHIFT]
    ldrd POST_HALF, POST, [r0, #LAYER_POST]
    sub r0, r5, r3, lsl #8
    orr r3, r4, r3, lsl #8
1:  requantize_rows
    push {r4, r5}
    push {r6, r7}
    adds r0, r0, #512
    bmi 1b

    lsr r4, r3, #8          /* units */
    add r5, r4, #1
    bic r5, r5, #1
    add r5, sp, r5, lsl #3
    ldm r5, {r1, r5, r6}    /* layer, acc, multipliers */
    ldrb r7, [r1, #LAYER_GRAIN]
    add r8, r4, r7
    sub r8, r8, #1
    rsb r7, r7, #0
    and r7, r7, r8          /* the units of the pass, padding included */
    add MULTIPLIERS, r6, r7, lsl #3
    ldrd PH_HALF, PH_SHIFT, [r1, #LAYER_CANDIDATE_RECURRENT]
    ldrd PX_HALF, PX_SHIFT, [r1, #LAYER_CANDIDATE_INPUT]
    add ACC, r5, r7, lsl #3
    uxtb r0, r0
    sub r0, r0, r4, lsl #8
2:  ldrd r4, r6, [ACC], #8
    ldrd r5, r7, [ACC, #PASS_RECURRENT - 8]
    ldrd r10, r11, [MULTIPLIERS], #8
    candidate r4, r5, r10
    candidate r6, r7, r11
    adds r0, r0, #512
    bmi 2b

    lsr UNITS, r3, #8
    and r0, UNITS, #1
    add sp, sp, r0, lsl #3
    add GATES, sp, UNITS, lsl #3
    add GATES, GATES, r0, lsl #3
    add r0, GATES, UNITS, lsl #3
    ldr H, [r0, #SAVED]
    add H, H, UNITS, lsl #1
    mov HALF, #128
    ldrd TANH_HALF, TABLE, .Ltanh_half_and_table
    mov ONE_HALF, #1 << 14
3:  ldm GATES!, {r0, r1}
    pop {r2, r3}
    sigma r0
    sigma r1
    smlabb r3, r1, r3, ONE_HALF
    add r2, r2, r3, asr #15
    half_tanh r2
    sxth r2, r2
    ldrsh r1, [H, #-2]!
    sub r1, r1, r2, lsl #1
    uxth r0, r0
    mla r1, r0, r1, ONE_HALF    /* at most 32767 * 65535 + 2^14 < 2^31 */
    lsl r2, r2, #1
    add r2, r2, r1, asr #15
    strh r2, [H]
    subs UNITS, UNITS, #1
    bne 3b
    mov sp, GATES
    add sp, sp, #16
    pop {r4-r12, pc}
    table_constants
    end_function sc_gru_tail
#endif
