/* LSTM: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * 184 instructions a unit and 49 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_LSTM_TAIL
#include "sc_thumb1_tail.h"

/* sc_lstm_layer */
#define LSTM_POST_HALF 44
#define LSTM_POST_SHIFT 48
#define LSTM_INPUT_SHIFT 55
#define LSTM_RECURRENT_SHIFT 56
#define LSTM_CELL_BITS 57

/* The frame below the saved registers. */
#define I 0
#define O 4
#define FORGOTTEN 8     /* f * c */
#define FRESH_HALF 12   /* rounds i * g to the format of c, */
#define FRESH_SHIFT 16  /* by 15 - cell_bits */
#define CELL_BITS 20
#define C 24
#define END 28          /* of c */
#define FROM_C_TO_H 32  /* bytes */
#define FRAME 36
#define ARGUMENTS (FRAME + SAVED)

/* Beyond sc_thumb1_tail.h: r12 half of 2^cell_bits, lr 2^14. */
/* frame: 72 bytes */
function sc_lstm_tail
    save_registers
    sub sp, #FRAME
    mov r4, r1
    mov r5, r2
    movs r6, #PASS_RECURRENT
    ldr r7, .Llstm_table
    adds r0, #LSTM_POST_HALF @ loads reach 31 bytes
    ldrb r1, [r0, #LSTM_INPUT_SHIFT - LSTM_POST_HALF]
    mov r8, r1
    ldrb r1, [r0, #LSTM_RECURRENT_SHIFT - LSTM_POST_HALF]
    mov r9, r1
    ldr r1, [r0]
    mov r10, r1
    ldrb r1, [r0, #LSTM_POST_SHIFT - LSTM_POST_HALF]
    mov r11, r1
    ldrb r0, [r0, #LSTM_CELL_BITS - LSTM_POST_HALF]
    str r0, [sp, #CELL_BITS]
    movs r2, #1
    lsls r1, r2, #14
    mov lr, r1
    movs r1, r2
    lsls r1, r1, r0
    lsrs r1, r1, #1
    mov r12, r1
    movs r1, #15
    subs r1, r1, r0
    str r1, [sp, #FRESH_SHIFT]
    lsls r2, r2, r1
    lsrs r2, r2, #1
    str r2, [sp, #FRESH_HALF]
    ldr r0, [sp, #ARGUMENTS]     @ h
    ldr r1, [sp, #ARGUMENTS + 4] @ c
    str r1, [sp, #C]
    subs r0, r0, r1
    str r0, [sp, #FROM_C_TO_H]
    lsls r3, r3, #1
    adds r1, r1, r3
    str r1, [sp, #END]

.Llstm_unit:
    joint
    sigmoid
    str r0, [sp, #I]
    joint
    sigmoid
    str r0, [sp, #O]
    joint
    sigmoid
    ldr r1, [sp, #C]
    ldrh r1, [r1]
    sxth r1, r1
    muls r0, r1, r0
    str r0, [sp, #FORGOTTEN]
    joint
    sigmoid_of_double
    mov r1, lr
    subs r0, r0, r1
    lsls r0, r0, #1 @ tanh

    @ f * c + rounded i * g, within 2^30 each
    ldr r1, [sp, #I]
    muls r0, r1, r0
    ldr r1, [sp, #FRESH_HALF]
    adds r0, r0, r1
    ldr r1, [sp, #FRESH_SHIFT]
    asrs r0, r0, r1
    ldr r1, [sp, #FORGOTTEN]
    adds r0, r0, r1
    @ rounded by 15 bits and saturated to 16, by way of max(v, ~v)
    add r0, lr
    asrs r1, r0, #31
    eors r0, r1
    lsls r2, r0, #1
    asrs r2, r2, #31
    orrs r0, r2
    lsls r0, r0, #2
    lsrs r0, r0, #17
    eors r0, r1
    ldr r1, [sp, #C]
    strh r0, [r1]

    @ c in Q4.11 = rounded c * 2^11 / 2^cell_bits; what tanh saturates need not be here
    lsls r0, r0, #11
    add r0, r12
    ldr r1, [sp, #CELL_BITS]
    asrs r0, r0, r1
    sigmoid_of_double
    mov r1, lr
    subs r0, r0, r1
    lsls r0, r0, #1 @ tanh
    ldr r1, [sp, #O]
    muls r0, r1, r0
    add r0, lr
    asrs r0, r0, #15
    ldr r1, [sp, #C]
    ldr r2, [sp, #FROM_C_TO_H]
    strh r0, [r1, r2]
    adds r1, #2
    str r1, [sp, #C]
    ldr r2, [sp, #END]
    cmp r1, r2
    beq .Llstm_done
    b .Llstm_unit
.Llstm_done:
    add sp, #FRAME
    restore_registers_and_return
    .balign 4
.Llstm_table:
    .word sc_sigmoid_table
end_function sc_lstm_tail
#endif
