/* Blocks of 4 rows and 1 column; a word is a block. SPDX-License-Identifier: Apache-2.0
 *
 * A block takes 11 instructions, every eight of them 2 more, a row group 18 and a call 23. x is int32_t.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_4X1_S32
#include "sc_thumb2_word.h"

/* The frame below the saved registers. */
.equ START, 0
.equ STRIDE, 4 /* bytes */
.equ ACC, 8
.equ END, 12   /* of acc */
.equ X, 16
.equ CURSOR, 20
.equ FRAME, 24

#define SEGMENT 255

.macro block
    ldrb.w r0, [r12], #1
    ldr.w r1, [r11], #4
    ldr.w r0, [r8, r0, lsl #2]
    word_column r1, r0
.endm

/* Beyond sc_thumb2_word.h: r0 a column of x, r1 weights, r8 segment of x, r9 end of the segment's positions,
 * r11 weights, r12 positions, lr last segment of x. */
/* frame: 60 bytes */
function sc_matvec_4x1_s32
    enter
    add r3, r2, r3, lsl #2
    strd r2, r3, [sp, #ACC]
    ldr r11, [r0, #CURSOR_WEIGHTS]
    ldr r12, [r0, #CURSOR_COLUMNS]
    strd r1, r0, [sp, #X]
    ldrh r4, [r0, #CURSOR_COLS]
    mov lr, r1
    b .Lblocks_last
.Lblocks_next:
    add lr, lr, #SEGMENT * 4
.Lblocks_last:
    subs r4, r4, #SEGMENT
    bhi .Lblocks_next

.Lblocks_group:
    load_starts r4, r7
    ldr r8, [sp, #X]
.Lblocks_segment:
    ldrb r0, [r12], #1
    add r9, r12, r0
    blocks_loop
    cmp r12, r9
    bne .Lblocks_loop

    cmp r8, lr
    bne .Lblocks_more_segments
    store_rows r4, r7, .Lblocks_group
    return_cursor r12

.Lblocks_more_segments:
    add r8, r8, #SEGMENT * 4
    b .Lblocks_segment
end_function sc_matvec_4x1_s32
#endif
