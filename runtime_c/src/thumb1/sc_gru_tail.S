/* GRU with linear_before_reset = 1: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * 135 instructions a unit, 54 or 55 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_GRU_TAIL
#include "sc_thumb1_tail.h"

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
#define Z 0
#define R 4
#define INPUT_HALF 8
#define INPUT_SHIFT 12
#define RECURRENT_HALF 16
#define RECURRENT_SHIFT 20
#define ONE_HALF 24 /* 2^14 */
#define H 28
#define END 32      /* of h */
#define FRAME 36
#define ARGUMENTS (FRAME + SAVED)

#define UNITS 8 /* SC_PASS */

/* Beyond sc_thumb1_tail.h: r12 and lr accumulators and multipliers of the candidates. */
/* frame: 72 bytes */
function sc_gru_tail
    save_registers
    sub sp, #FRAME
    movs r4, r1
    movs r5, r2
    adds r0, #GRU_POST_HALF @ loads reach 31 bytes
    @ candidates follow two rows a unit of the whole pass: UNITS, or fewer, in whole grains
    ldrb r6, [r0, #GRU_GRAIN - GRU_POST_HALF]
    adds r1, r3, r6
    subs r1, #1
    rsbs r6, r6, #0
    ands r1, r6
    cmp r3, #UNITS
    blo .Lgru_last_pass
    movs r1, #UNITS
.Lgru_last_pass:
    lsls r1, r1, #3
    adds r2, r4, r1
    mov r12, r2
    adds r2, r5, r1
    mov lr, r2
    ldrb r1, [r0, #GRU_INPUT_SHIFT - GRU_POST_HALF]
    mov r8, r1
    ldrb r1, [r0, #GRU_RECURRENT_SHIFT - GRU_POST_HALF]
    mov r9, r1
    ldr r1, [r0]
    mov r10, r1
    ldrb r1, [r0, #GRU_POST_SHIFT - GRU_POST_HALF]
    mov r11, r1
    ldr r1, [r0, #GRU_CANDIDATE_INPUT_HALF - GRU_POST_HALF]
    str r1, [sp, #INPUT_HALF]
    ldrb r1, [r0, #GRU_CANDIDATE_INPUT_SHIFT - GRU_POST_HALF]
    str r1, [sp, #INPUT_SHIFT]
    ldr r1, [r0, #GRU_CANDIDATE_RECURRENT_HALF - GRU_POST_HALF]
    str r1, [sp, #RECURRENT_HALF]
    ldrb r1, [r0, #GRU_CANDIDATE_RECURRENT_SHIFT - GRU_POST_HALF]
    str r1, [sp, #RECURRENT_SHIFT]
    movs r1, #1
    lsls r1, r1, #14
    str r1, [sp, #ONE_HALF]
    ldr r1, [sp, #ARGUMENTS]
    str r1, [sp, #H]
    lsls r3, r3, #1
    adds r1, r1, r3
    str r1, [sp, #END]
    movs r6, #PASS_RECURRENT
    ldr r7, .Lgru_table

.Lgru_unit:
    joint
    sigmoid
    str r0, [sp, #Z]
    joint
    sigmoid
    str r0, [sp, #R]

    @ both products of the candidate, |product| <= 2^29, rounded apart
    mov r3, r12
    ldr r1, [r3, r6]
    ldm r3!, {r0}
    mov r12, r3
    mov r3, lr
    ldm r3!, {r2}
    mov lr, r3
    products
    ldr r2, [sp, #INPUT_HALF]
    adds r0, r0, r2
    ldr r2, [sp, #INPUT_SHIFT]
    asrs r0, r0, r2
    ldr r2, [sp, #RECURRENT_HALF]
    adds r1, r1, r2
    ldr r2, [sp, #RECURRENT_SHIFT]
    asrs r1, r1, r2
    @ the recurrent one saturated to 16 bits, by way of max(v, ~v)
    asrs r2, r1, #31
    eors r1, r2
    lsrs r3, r1, #15
    rsbs r3, r3, #0
    asrs r3, r3, #31
    orrs r1, r3
    lsls r1, r1, #17
    lsrs r1, r1, #17
    eors r1, r2
    @ n = tanh(input product + r * recurrent product), which tanh saturates
    ldr r2, [sp, #R]
    muls r1, r2, r1
    ldr r2, [sp, #ONE_HALF]
    adds r1, r1, r2
    asrs r1, r1, #15
    adds r0, r0, r1
    sigmoid_of_double
    ldr r1, [sp, #ONE_HALF]
    subs r0, r0, r1
    lsls r0, r0, #1 @ tanh
    @ h = n + z * (h - n), |z * (h - n)| <= 32767 * 65535
    ldr r1, [sp, #H]
    ldrh r2, [r1]
    sxth r2, r2
    subs r2, r2, r0
    ldr r3, [sp, #Z]
    muls r2, r3, r2
    ldr r3, [sp, #ONE_HALF]
    adds r2, r2, r3
    asrs r2, r2, #15
    adds r0, r0, r2
    strh r0, [r1]
    adds r1, #2
    str r1, [sp, #H]
    ldr r2, [sp, #END]
    cmp r1, r2
    beq .Lgru_done
    b .Lgru_unit
.Lgru_done:
    add sp, #FRAME
    restore_registers_and_return
    .balign 4
.Lgru_table:
    .word sc_sigmoid_table
end_function sc_gru_tail
#endif
