/* Dense row groups, a word holds one column of four rows. SPDX-License-Identifier: Apache-2.0
 *
 * Four columns take 35 instructions, twice that a loop 2 more, a row group 11 and a call 24. x is int32_t,
 * padded to four.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_DENSE_S32
#include "sc_thumb2_word.h"

/* The frame below the saved registers. */
#define START 0
#define STRIDE 4 /* bytes */
#define ACC 8
#define END 12   /* of acc */
#define ENTRY 16 /* where to enter the loop */
#define X 20
#define CURSOR 24
#define FRAME 28

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
    push {r4-r11, lr}
    sub sp, #FRAME
    ldr r4, [r0, #CURSOR_START]
    ldrh r5, [r0, #CURSOR_STRIDE]
    lsl r5, r5, #2
    strd r4, r5, [sp, #START]
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
    ldrd r0, r1, [sp, #START]
    ldm r0, {r4-r7}
    add r0, r0, r1
    str r0, [sp, #START]
    ldr r12, [sp, #X]
    ldr pc, [sp, #ENTRY]

    .balign 4
.Ldense_loop:
    four_columns
    four_columns
    cmp r12, lr
    bne .Ldense_loop

    ldrd r0, r1, [sp, #ACC]
    stm r0!, {r4-r7}
    str r0, [sp, #ACC]
    cmp r0, r1
    bne .Ldense_group
    ldr r0, [sp, #CURSOR]
    ldr r1, [sp, #START]
    str r1, [r0, #CURSOR_START]
    str r11, [r0, #CURSOR_WEIGHTS]
    add sp, #FRAME
    pop {r4-r11, pc}
end_function sc_matvec_dense_s32
#endif
