/* Dense row groups of unsigned bytes (sc_thumb1_offset.h). SPDX-License-Identifier: Apache-2.0
 *
 * Four columns of four rows take 49 instructions, twice that a loop 3 more, a row group 29, and a call 47 and 7
 * for every four columns. x is int32_t, padded to four; a word holds one column, the lowest byte the first row.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_OFFSET_DENSE
#include "sc_thumb1_offset.h"

/* The frame below the saved registers. */
.equ START, 0
.equ ADVANCE, 4 /* by how many bytes `start` moves on, less the 16 that LDM moves on by */
.equ TOO_MUCH, 8
.equ X, 12
.equ X_END, 16
.equ ACC, 20
.equ END, 24    /* of acc */
.equ CURSOR, 28
.equ FRAME, 32

#define FOUR_COLUMNS 98 /* bytes of code */

.macro four_columns number
    ldm r6!, {r1-r4}
    offset_column r5, \number, r1
    offset_column r5, \number + 1, r2
    offset_column r5, \number + 2, r3
    offset_column r5, \number + 3, r4
.endm

/* Beyond sc_thumb1_offset.h: r1 to r4 columns of x, r5 weights, r6 x, r7 end of x, r12 by how much weights move
 * on when the loop is entered, lr where that is. */
/* frame: 68 bytes */
function sc_matvec_offset_dense
    save_registers
    sub sp, #FRAME
    str r0, [sp, #CURSOR]
    str r1, [sp, #X]
    str r2, [sp, #ACC]
    keep_rows_and_starts
    ldr r5, [r0, #CURSOR_WEIGHTS]
    ldrh r0, [r0, #CURSOR_COLS]
    lsls r7, r0, #2
    adds r7, r1, r7
    str r7, [sp, #X_END]
    @ an odd number of fours starts in the middle of the loop, where weights are counted from 16 bytes before
    lsls r0, r0, #29
    lsrs r0, r0, #31
    movs r2, #FOUR_COLUMNS
    muls r2, r0, r2
    adr r3, .Ldense_loop
    adds r2, r2, r3
    mov lr, r2
    lsls r0, r0, #4
    rsbs r0, r0, #0
    mov r12, r0
    movs r0, #0
.Ldense_sum:
    ldm r1!, {r2-r4, r6}
    adds r0, r0, r2
    adds r0, r0, r3
    adds r0, r0, r4
    adds r0, r0, r6
    cmp r1, r7
    bne .Ldense_sum
    lsls r0, r0, #7
    str r0, [sp, #TOO_MUCH]

.Ldense_group:
    ldr r0, [sp, #START]
    ldm r0!, {r1-r4}
    ldr r6, [sp, #ADVANCE]
    adds r0, r0, r6
    str r0, [sp, #START]
    ldr r0, [sp, #TOO_MUCH]
    subs r1, r1, r0
    mov r8, r1
    subs r2, r2, r0
    mov r9, r2
    subs r3, r3, r0
    mov r10, r3
    subs r4, r4, r0
    mov r11, r4
    ldr r6, [sp, #X]
    ldr r7, [sp, #X_END]
    add r5, r12
    mov pc, lr

    .balign 4
.Ldense_loop:
    four_columns 0
    four_columns 4
    adds r5, #32
    cmp r6, r7
    bne .Ldense_loop

    ldr r0, [sp, #ACC]
    mov r1, r8
    mov r2, r9
    mov r3, r10
    mov r4, r11
    stm r0!, {r1-r4}
    str r0, [sp, #ACC]
    ldr r1, [sp, #END]
    cmp r0, r1
    beq .Ldense_done
    b .Ldense_group
.Ldense_done:
    return_cursor r5
end_function sc_matvec_offset_dense
#endif
