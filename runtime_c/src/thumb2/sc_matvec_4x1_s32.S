/* Blocks of 4 rows and 1 column; a word is a block. SPDX-License-Identifier: Apache-2.0
 *
 * A block takes 11 instructions, every eight of them 2 more, a row group 18 and a call 23. x is int32_t.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_4X1_S32
#include "sc_thumb2_word.h"

/* The frame below the saved registers. */
#define START 0
#define STRIDE 4 /* bytes */
#define ACC 8
#define END 12   /* of acc */
#define X 16
#define CURSOR 20
#define FRAME 24

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
    push {r4-r11, lr}
    sub sp, #FRAME
    ldr r4, [r0, #CURSOR_START]
    ldrh r5, [r0, #CURSOR_STRIDE]
    lsl r5, r5, #2
    strd r4, r5, [sp, #START]
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
    ldrd r0, r1, [sp, #START]
    ldm r0, {r4-r7}
    add r0, r0, r1
    str r0, [sp, #START]
    ldr r8, [sp, #X]
.Lblocks_segment:
    @ the first round of the loop computes count modulo 8 blocks
    ldrb r0, [r12], #1
    add r9, r12, r0
    and r0, r0, #7
    tbb [pc, r0]
.Lblocks_entries:
    .byte (.Lblocks_end - .Lblocks_entries) / 2
    .byte (.Lblocks_1 - .Lblocks_entries) / 2
    .byte (.Lblocks_2 - .Lblocks_entries) / 2
    .byte (.Lblocks_3 - .Lblocks_entries) / 2
    .byte (.Lblocks_4 - .Lblocks_entries) / 2
    .byte (.Lblocks_5 - .Lblocks_entries) / 2
    .byte (.Lblocks_6 - .Lblocks_entries) / 2
    .byte (.Lblocks_7 - .Lblocks_entries) / 2

.Lblocks_loop:
    block
.Lblocks_7:
    block
.Lblocks_6:
    block
.Lblocks_5:
    block
.Lblocks_4:
    block
.Lblocks_3:
    block
.Lblocks_2:
    block
.Lblocks_1:
    block
.Lblocks_end:
    cmp r12, r9
    bne .Lblocks_loop

    cmp r8, lr
    bne .Lblocks_more_segments
    ldrd r0, r1, [sp, #ACC]
    stm r0!, {r4-r7}
    str r0, [sp, #ACC]
    cmp r0, r1
    bne .Lblocks_group
    ldr r0, [sp, #CURSOR]
    ldr r1, [sp, #START]
    str r1, [r0, #CURSOR_START]
    str r12, [r0, #CURSOR_COLUMNS]
    str r11, [r0, #CURSOR_WEIGHTS]
    add sp, #FRAME
    pop {r4-r11, pc}

.Lblocks_more_segments:
    add r8, r8, #SEGMENT * 4
    b .Lblocks_segment
end_function sc_matvec_4x1_s32
#endif
