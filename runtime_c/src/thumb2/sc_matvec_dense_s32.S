/* Dense row groups, a word holds one column of four rows. SPDX-License-Identifier: Apache-2.0
 *
 * Four columns take 35 instructions, twice that a loop 2 more, a row group 11 and a call 24. x is int32_t,
 * padded to four.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_DENSE_S32
#include "sc_thumb2_word.h"

/* The frame below the saved registers. */
.equ START, 0
.equ STRIDE, 4 /* bytes */
.equ ACC, 8
.equ END, 12   /* of acc */
.equ ENTRY, 16 /* where to enter the loop */
.equ X, 20
.equ CURSOR, 24
.equ FRAME, 28

#define FOUR_COLUMNS 140 /* bytes of code */

.macro four_columns
    ldm.w r11!, {r0-r3}
    ldm.w r12!, {r8, r9}
    word_column r0, r8
    word_column r1, r9
    ldm.w r12!, {r8, r9}
    word_column r2, r8
    word_column r3, r9
.endm

/* Beyond sc_thumb2_word.h: r0 to r3 weights, r8 and r9 columns of x, r11 weights, r12 x, lr end of x. */
/* frame: 64 bytes */
function sc_matvec_dense_s32
    enter
    add r3, r2, r3, lsl #2
    strd r2, r3, [sp, #ACC]
    ldr r11, [r0, #CURSOR_WEIGHTS]
    ldrh r4, [r0, #CURSOR_COLS]
    add lr, r1, r4, lsl #2
    @ an odd number of fours starts in the middle of the loop
    ubfx r4, r4, #2, #1
    mov r5, #FOUR_COLUMNS
    adr r6, .Ldense_loop
    mla r4, r4, r5, r6
    add r4, r4, #1 @ Thumb
    strd r4, r1, [sp, #ENTRY]
    str r0, [sp, #CURSOR]

.Ldense_group:
    load_starts r4, r7
    ldr r12, [sp, #X]
    ldr pc, [sp, #ENTRY]

    .balign 4
.Ldense_loop:
    four_columns
    four_columns
    cmp r12, lr
    bne .Ldense_loop

    store_rows r4, r7, .Ldense_group
    return_cursor
end_function sc_matvec_dense_s32
#endif
