/* Blocks of 4 rows and 2 columns, two rows a register (sc_thumb2_swar.h). SPDX-License-Identifier: Apache-2.0
 *
 * A block takes 12 instructions, every eight of them 3 more, a row group 25 and a call 26. x is int32_t; a
 * block is [P01, P01', P23, P23'].
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR_4X2
#include "sc_thumb2_swar.h"

/* The frame below the saved registers. */
#define START 0
#define STRIDE 4 /* bytes */
#define ACC 8
#define END 12   /* of acc */
#define X 16
#define LAST 20  /* the last segment of x */
#define LIMIT 24 /* end of the segment's positions */
#define CURSOR 28
#define FRAME 32

#define SEGMENT_COLUMNS 510 /* 255 blocks */

.macro block
    ldrb r4, [r12], #1
    add r4, lr, r4, lsl #3
    ldrd r4, r5, [r4]
    swar_four_rows
.endm

/* Beyond sc_thumb2_swar.h: r12 positions, lr segment of x. */
/* frame: 68 bytes */
function sc_matvec_swar_4x2
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
    mov r10, #0x8000
    str r0, [sp, #CURSOR]
    str r1, [sp, #X]
    ldrh r4, [r0, #CURSOR_COLS]
    movw r5, #SEGMENT_COLUMNS
    b .Lblocks_last
.Lblocks_next:
    add r1, r1, r5, lsl #2
.Lblocks_last:
    subs r4, r4, r5
    bhi .Lblocks_next
    str r1, [sp, #LAST]

.Lblocks_group:
    ldrd r0, r1, [sp, #START]
    ldm r0, {r6-r9}
    add r0, r0, r1
    str r0, [sp, #START]
    ldr lr, [sp, #X]
.Lblocks_segment:
    @ the first round of the loop computes count modulo 8 blocks
    ldrb r0, [r12], #1
    add r1, r12, r0
    str r1, [sp, #LIMIT]
    sub r6, r6, r0, lsl #15
    sub r8, r8, r0, lsl #15
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
    ldr r0, [sp, #LIMIT]
    cmp r12, r0
    bne .Lblocks_loop

    ldr r0, [sp, #LAST]
    cmp lr, r0
    bne .Lblocks_more_segments
    swar_end
    ldrd r0, r1, [sp, #ACC]
    stm r0!, {r6-r9}
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
    add lr, lr, #SEGMENT_COLUMNS * 4
    b .Lblocks_segment
end_function sc_matvec_swar_4x2
#endif
