/* GRU with linear_before_reset = 1: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * 73 instructions a unit and 29 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_GRU_TAIL
#include "sc_thumb2_tail.h"

/* sc_gru_layer */
#define GRU_POST_HALF 44
#define GRU_POST_SHIFT 48
#define GRU_CANDIDATE_INPUT_HALF 52
#define GRU_CANDIDATE_INPUT_SHIFT 56
#define GRU_CANDIDATE_RECURRENT_HALF 60
#define GRU_CANDIDATE_RECURRENT_SHIFT 64
#define GRU_GRAIN 70
#define GRU_INPUT_SHIFT 71
#define GRU_RECURRENT_SHIFT 72

/* The frame below the saved registers. */
#define INPUT 0     /* half and shift of the input product of candidates */
#define RECURRENT 8 /* of their recurrent product */
#define H 16
#define END 20      /* of h */
#define FRAME 24
#define SAVED 36
#define ARGUMENTS (FRAME + SAVED)

#define UNITS 8 /* SC_PASS */

/* Beyond sc_thumb2_tail.h: r11 z, r12 r, lr bytes from what comes next of the gates to the next candidate. */
/* frame: 60 bytes */
function sc_gru_tail
    push {r4-r11, lr}
    sub sp, #FRAME
    @ candidates follow two rows a unit of the whole pass: UNITS, or fewer, in whole grains
    ldrb r4, [r0, #GRU_GRAIN]
    add lr, r3, r4
    sub lr, lr, #1
    rsb r4, r4, #0
    and lr, lr, r4
    cmp r3, #UNITS
    it hs
    movhs lr, #UNITS
    lsl lr, lr, #3
    sub lr, lr, #8
    ldr r4, [r0, #GRU_CANDIDATE_INPUT_HALF]
    ldrb r5, [r0, #GRU_CANDIDATE_INPUT_SHIFT]
    strd r4, r5, [sp, #INPUT]
    ldr r4, [r0, #GRU_CANDIDATE_RECURRENT_HALF]
    ldrb r5, [r0, #GRU_CANDIDATE_RECURRENT_SHIFT]
    strd r4, r5, [sp, #RECURRENT]
    ldr r4, [sp, #ARGUMENTS]
    add r5, r4, r3, lsl #1
    strd r4, r5, [sp, #H]
    ldrb r4, [r0, #GRU_INPUT_SHIFT]
    ldrb r5, [r0, #GRU_RECURRENT_SHIFT]
    ldr r6, [r0, #GRU_POST_HALF]
    ldrb r7, [r0, #GRU_POST_SHIFT]
    ldr r8, .Lgru_table
    mov r9, #128

.Lgru_unit:
    joint
    sigmoid
    mov r11, r0
    joint
    sigmoid
    mov r12, r0

    @ both products of the candidate, |product| <= 2^29, rounded apart
    ldr r0, [r1, lr]
    ldrh r3, [r2, lr]
    asr r0, r0, r4
    mul r0, r0, r3
    ldrd r3, r10, [sp, #INPUT]
    add r0, r0, r3
    asr r0, r0, r10
    add r3, r1, lr
    ldr r3, [r3, #PASS_RECURRENT]
    add r10, r2, lr
    ldrh r10, [r10, #2]
    sub lr, lr, #4
    asr r3, r3, r5
    mul r3, r3, r10
    ldr r10, [sp, #RECURRENT]
    add r3, r3, r10
    ldr r10, [sp, #RECURRENT + 4]
    asr r3, r3, r10
    ssat r3, #16, r3
    @ n = tanh(input product + r * recurrent product), which tanh saturates
    mul r3, r3, r12
    add r3, r3, #16384
    add r0, r0, r3, asr #15
    half_tanh
    @ h = n + z * (h - n), |z * (h - n)| <= 32767 * 65535
    ldrd r10, r12, [sp, #H]
    ldrsh r3, [r10]
    sub r3, r3, r0, lsl #1
    mul r3, r3, r11
    add r3, r3, #16384
    asr r3, r3, #15
    add r0, r3, r0, lsl #1
    strh r0, [r10], #2
    str r10, [sp, #H]
    cmp r10, r12
    bne .Lgru_unit

    add sp, #FRAME
    pop {r4-r11, pc}
    .balign 4
.Lgru_table:
    .word sc_sigmoid_table + LINE_OF_ZERO
end_function sc_gru_tail
#endif
