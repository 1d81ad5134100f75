/* LSTM: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * 97 instructions a unit and 23 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_LSTM_TAIL
#include "sc_thumb2_tail.h"

/* sc_lstm_layer */
#define LSTM_POST_HALF 44
#define LSTM_POST_SHIFT 48
#define LSTM_INPUT_SHIFT 55
#define LSTM_RECURRENT_SHIFT 56
#define LSTM_CELL_BITS 57

/* The frame below the saved registers. */
#define FRESH_SHIFT 0 /* rounds i * g to the format of c, by 15 - cell_bits */
#define FRESH_HALF 4
#define CELL_BITS 8
#define CELL_HALF 12  /* of 2^cell_bits */
#define H 16
#define C 20
#define END 24        /* of c */
#define FRAME 28
#define SAVED 36
#define ARGUMENTS (FRAME + SAVED)

/* Beyond sc_thumb2_tail.h: r11 i, r12 o, lr f * c. */
/* frame: 64 bytes */
function sc_lstm_tail
    push {r4-r11, lr}
    sub sp, #FRAME
    ldrb r11, [r0, #LSTM_CELL_BITS]
    mov r12, #1
    lsl r10, r12, r11
    lsr r10, r10, #1
    strd r11, r10, [sp, #CELL_BITS]
    rsb r11, r11, #15
    lsl r10, r12, r11
    lsr r10, r10, #1
    strd r11, r10, [sp, #FRESH_SHIFT]
    ldrd r10, r11, [sp, #ARGUMENTS]
    strd r10, r11, [sp, #H]
    add r3, r11, r3, lsl #1
    str r3, [sp, #END]
    ldrb r4, [r0, #LSTM_INPUT_SHIFT]
    ldrb r5, [r0, #LSTM_RECURRENT_SHIFT]
    ldr r6, [r0, #LSTM_POST_HALF]
    ldrb r7, [r0, #LSTM_POST_SHIFT]
    ldr r8, .Llstm_table
    mov r9, #128

.Llstm_unit:
    joint
    sigmoid
    mov r11, r0
    joint
    sigmoid
    mov r12, r0
    joint
    sigmoid
    ldr r3, [sp, #C]
    ldrsh r3, [r3]
    mul lr, r0, r3
    joint
    half_tanh

    @ f * c + rounded i * g, within 2^30 each; rounded by 15 bits and saturated to 16
    mul r0, r11, r0
    ldrd r3, r10, [sp, #FRESH_SHIFT]
    add r0, r10, r0, lsl #1
    asr r0, r0, r3
    add r0, r0, lr
    add r0, r0, #16384
    ssat r0, #16, r0, asr #15
    ldr r3, [sp, #C]
    strh r0, [r3], #2
    str r3, [sp, #C]

    @ c in Q4.11 = rounded c * 2^11 / 2^cell_bits; what tanh saturates need not be here
    ldrd r3, r10, [sp, #CELL_BITS]
    add r0, r10, r0, lsl #11
    asr r0, r0, r3
    half_tanh
    mul r0, r12, r0
    add r0, r0, #8192
    asr r0, r0, #14
    ldr r3, [sp, #H]
    strh r0, [r3], #2
    str r3, [sp, #H]
    ldrd r0, r3, [sp, #C]
    cmp r0, r3
    bne .Llstm_unit

    add sp, #FRAME
    pop {r4-r11, pc}
    .balign 4
.Llstm_table:
    .word sc_sigmoid_table + LINE_OF_ZERO
end_function sc_lstm_tail
#endif
