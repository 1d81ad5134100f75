/* Adds the pairs of columns that changed: four words are two columns of eight rows.
 * SPDX-License-Identifier: Apache-2.0
 *
 *   r0 weights of the row group  r1 changes  r2 where a pair lies  r3 its changes  r12 lr words
 *   r4 r6 r8 r10 low  r5 r7 r9 r11 full
 *
 * Sums wrap as in the portable file. Two pairs cost 34 instructions, an odd one as much as two (the list ends
 * with two pairs that change by 0), a row group 25; a call 21, and 18 in all where nothing changed.
 */
#include "sc_isa.h"
#ifdef SC_HAS_DELTA_HILO
#include "sc_dsp.h"

    .equ STACK_CHANGES, 0
    .equ STACK_ACC, 4
    .equ STACK_GROUP, 8 /* bytes of a row group */
    .equ STACK_END, 12  /* of acc */
    .equ STACK_CURSOR, 16

.macro add_pair
    add r2, r0, r2
    ldm r2!, {r12, lr}
    add_columns r12, r3, r4, r5
    add_columns lr, r3, r6, r7
    ldm r2, {r12, lr}
    add_columns r12, r3, r8, r9
    add_columns lr, r3, r10, r11
    ldrd r2, r3, [r1], #8
.endm

/* frame: 56 bytes */
    function sc_delta_hilo
    push {r0, r4-r11, lr}
    ldrh r5, [r0, #CURSOR_COLS]
    ldr r0, [r0]
    lsl r5, r5, #3
    ldr r4, [r1, #4]
    cmp r4, #0
    beq .Lnothing
    add r6, r2, r3, lsl #2
    push {r1, r2, r5, r6}

.Lgroup:
    ldm r2, {r4-r11}
    add r5, r4, r5, lsl #8
    add r7, r6, r7, lsl #8
    add r9, r8, r9, lsl #8
    add r11, r10, r11, lsl #8
    ldr r1, [sp, #STACK_CHANGES]
    ldrd r2, r3, [r1], #8
.Lpairs:
    add_pair
    add_pair
    cmp r3, #0
    bne .Lpairs

    part_rows r4, r5, r6, r7
    part_rows r8, r9, r10, r11
    ldr r2, [sp, #STACK_ACC]
    stm r2!, {r4-r11}
    str r2, [sp, #STACK_ACC]
    ldrd r3, r12, [sp, #STACK_GROUP]
    add r0, r0, r3
    cmp r2, r12
    bne .Lgroup

    ldr r1, [sp, #STACK_CURSOR]
    str r0, [r1]
    add sp, sp, #20
    pop {r4-r11, pc}

.Lnothing:
    lsr r3, r3, #3
    mla r0, r3, r5, r0
    ldr r1, [sp]
    str r0, [r1]
    add sp, sp, #4
    pop {r4-r11, pc}
    end_function sc_delta_hilo
#endif
