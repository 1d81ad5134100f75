/* Dense row groups, two rows a register (sc_thumb2_swar.h). SPDX-License-Identifier: Apache-2.0
 *
 * Two columns of four rows take 10 instructions, eight times that a loop 2 more, a row group 15 and a call 28.
 * x is int32_t; a row group has, for every two columns, [P01, P01', P23, P23'].
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR_DENSE
#include "sc_thumb2_swar.h"

/* The frame below the saved registers. */
.equ START, 0
.equ STRIDE, 4   /* bytes */
.equ BIAS, 8     /* 2^15 for every two columns */
.equ X, 12
.equ ACC, 16
.equ END, 20     /* of acc */
.equ ENTRY, 24   /* where to enter the loop */
.equ CURSOR, 28
.equ FRAME, 32

#define UNROLL 8       /* two columns each */
#define TWO_COLUMNS 40 /* bytes of code */

.macro two_columns
    ldm.w r12!, {r4, r5}
    swar_four_rows
.endm

/* Beyond sc_thumb2_swar.h: r12 x, lr end of x. */
/* frame: 68 bytes */
function sc_matvec_swar_dense
    enter
    ldrh r6, [r0, #CURSOR_COLS]
    lsl r4, r6, #14
    strd r4, r1, [sp, #BIAS]
    add r3, r2, r3, lsl #2
    strd r2, r3, [sp, #ACC]
    ldr r11, [r0, #CURSOR_WEIGHTS]
    add lr, r1, r6, lsl #2
    mov r10, #0x8000
    @ the first round of the loop leaves out what makes the columns whole rounds
    lsr r6, r6, #1
    rsb r6, r6, #0
    and r6, r6, #UNROLL - 1
    mov r5, #TWO_COLUMNS
    adr r4, .Ldense_loop
    mla r4, r5, r6, r4
    add r4, r4, #1 @ Thumb
    strd r4, r0, [sp, #ENTRY]

.Ldense_group:
    load_starts r6, r9
    ldrd r0, r12, [sp, #BIAS]
    sub r6, r6, r0
    sub r8, r8, r0
    ldr pc, [sp, #ENTRY]

    .balign 4
.Ldense_loop:
    .rept UNROLL
    two_columns
    .endr
    cmp r12, lr
    bne .Ldense_loop

    swar_end
    store_rows r6, r9, .Ldense_group
    return_cursor
end_function sc_matvec_swar_dense
#endif
