/* Blocks of 4 rows and 2 columns, two rows a register (sc_thumb1_swar.h). SPDX-License-Identifier: Apache-2.0
 *
 * A block takes 18 instructions, every four of them 3 more, a row group 40 and a call 43. x is int32_t; a
 * block is [P01, P01', P23, P23'].
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR_4X2
#include "sc_thumb1_swar.h"

/* The frame below the saved registers. */
.equ START, 0
.equ ADVANCE, 4
.equ END, 8 /* of acc */
.equ CURSOR, 12
.equ X, 16
.equ LAST, 20 /* the last segment of x */
.equ FRAME, 24

#define BLOCK 36           /* bytes of code */
#define SEGMENT_COLUMNS 510 /* 255 blocks */

.macro block number
    ldrb r0, [r2, #\number]
    lsls r0, r0, #3
    add r0, r11
    ldm r0!, {r4, r6}
    swar_two_rows r8, r5
    swar_two_rows r9, r7
.endm

/* Beyond sc_thumb1_swar.h: r2 positions, r10 end of the loop's blocks, r11 segment of x, r12 end of the
 * segment's positions, lr acc. */
/* frame: 60 bytes */
function sc_matvec_swar_4x2
    save_registers
    sub sp, #FRAME
    str r0, [sp, #CURSOR]
    str r1, [sp, #X]
    mov lr, r2
    keep_rows_and_starts
    ldr r3, [r0, #CURSOR_WEIGHTS]
    ldr r2, [r0, #CURSOR_COLUMNS]
    adr r4, .Lblocks_end
    mov r10, r4
    ldrh r4, [r0, #CURSOR_COLS]
    movs r5, #SEGMENT_COLUMNS / 2
    lsls r5, r5, #1
    lsls r6, r5, #2
    b .Lblocks_last
.Lblocks_next:
    adds r1, r1, r6
.Lblocks_last:
    subs r4, r4, r5
    bhi .Lblocks_next
    str r1, [sp, #LAST]

.Lblocks_group:
    swar_begin START, ADVANCE
    ldr r0, [sp, #X]
    mov r11, r0
.Lblocks_segment:
    @ the first round of the loop computes count modulo 4 blocks: r2 points so many positions before its last
    ldrb r0, [r2]
    adds r2, #1
    adds r1, r2, r0
    mov r12, r1
    lsls r0, r0, #30
    lsrs r0, r0, #30
    adds r2, r2, r0
    subs r2, #4
    movs r1, #BLOCK
    muls r0, r1, r0
    mov r1, r10
    subs r1, r1, r0
    mov pc, r1

    .balign 4
.Lblocks_loop:
    block 0
    block 1
    block 2
    block 3
.Lblocks_end:
    adds r2, #4
    cmp r2, r12
    bne .Lblocks_loop

    ldr r0, [sp, #LAST]
    cmp r0, r11
    bne .Lblocks_more_segments
    mov r0, lr
    swar_store
    mov lr, r0
    ldr r1, [sp, #END]
    cmp r0, r1
    bne .Lblocks_group
    return_cursor r3, r2

.Lblocks_more_segments:
    movs r0, #SEGMENT_COLUMNS / 2
    lsls r0, r0, #3
    add r11, r0
    b .Lblocks_segment
end_function sc_matvec_swar_4x2
#endif
