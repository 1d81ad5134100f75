/* Blocks of 4 rows and 2 columns, two rows a register (sc_thumb2_swar.h). SPDX-License-Identifier: Apache-2.0
 *
 * A block takes 12 instructions, every eight of them 3 more, a row group 25 and a call 26. x is int32_t; a
 * block is [P01, P01', P23, P23'].
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR_4X2
#include "sc_thumb2_swar.h"

/* The frame below the saved registers. */
.equ START, 0
.equ STRIDE, 4 /* bytes */
.equ ACC, 8
.equ END, 12   /* of acc */
.equ X, 16
.equ LAST, 20  /* the last segment of x */
.equ LIMIT, 24 /* end of the segment's positions */
.equ CURSOR, 28
.equ FRAME, 32

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
    enter
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
    load_starts r6, r9
    ldr lr, [sp, #X]
.Lblocks_segment:
    ldrb r0, [r12], #1
    add r1, r12, r0
    str r1, [sp, #LIMIT]
    sub r6, r6, r0, lsl #15
    sub r8, r8, r0, lsl #15
    blocks_loop
    ldr r0, [sp, #LIMIT]
    cmp r12, r0
    bne .Lblocks_loop

    ldr r0, [sp, #LAST]
    cmp lr, r0
    bne .Lblocks_more_segments
    swar_end
    store_rows r6, r9, .Lblocks_group
    return_cursor r12

.Lblocks_more_segments:
    add lr, lr, #SEGMENT_COLUMNS * 4
    b .Lblocks_segment
end_function sc_matvec_swar_4x2
#endif
