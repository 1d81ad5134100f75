/* Dense row groups, two rows a register (sc_thumb1_swar.h). SPDX-License-Identifier: Apache-2.0
 *
 * Two columns of four rows take 15 instructions, eight times that a loop 2 more, a row group 22 and a call 43.
 * x is int32_t; a row group has, for every two columns, [P01, P01', P23, P23'].
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR_DENSE
#include "sc_thumb1_swar.h"

/* The frame below the saved registers. */
.equ START, 0
.equ ADVANCE, 4
.equ END, 8 /* of acc */
.equ CURSOR, 12
.equ FRAME, 16

#define UNROLL 8          /* two columns each */
#define LOG2_UNROLL 3
#define TWO_COLUMNS 30    /* bytes of code */

.macro two_columns
    ldm r2!, {r4, r6}
    swar_two_rows r8, r5
    swar_two_rows r9, r7
.endm

/* Beyond sc_thumb1_swar.h: r2 x, r10 where to enter the loop, r11 start of x, r12 end of x, lr acc. */
/* frame: 52 bytes */
function sc_matvec_swar_dense
    save_registers
    sub sp, #FRAME
    str r0, [sp, #CURSOR]
    mov r11, r1
    mov lr, r2
    keep_rows_and_starts
    ldr r3, [r0, #CURSOR_WEIGHTS]
    ldrh r4, [r0, #CURSOR_COLS]
    lsls r5, r4, #2
    adds r5, r1, r5
    mov r12, r5
    @ the first round of the loop leaves out what makes the columns whole rounds
    lsrs r4, r4, #1
    rsbs r4, r4, #0
    lsls r4, r4, #32 - LOG2_UNROLL
    lsrs r4, r4, #32 - LOG2_UNROLL
    movs r5, #TWO_COLUMNS
    muls r4, r5, r4
    adr r5, .Ldense_loop
    adds r4, r4, r5
    mov r10, r4

.Ldense_group:
    swar_begin START, ADVANCE
    mov r2, r11
    mov pc, r10

    .balign 4
.Ldense_loop:
    .rept UNROLL
    two_columns
    .endr
    cmp r2, r12
    bne .Ldense_loop

    mov r0, lr
    swar_store
    mov lr, r0
    ldr r1, [sp, #END]
    cmp r0, r1
    bne .Ldense_more
    return_cursor r3
.Ldense_more:
    b .Ldense_group
end_function sc_matvec_swar_dense
#endif
