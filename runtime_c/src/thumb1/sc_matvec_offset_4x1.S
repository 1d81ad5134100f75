/* Blocks of 4 rows and 1 column, of unsigned bytes (sc_thumb1_offset.h). SPDX-License-Identifier: Apache-2.0
 *
 * A block takes 16 instructions, every four of them 4 more, a row group 48 and a call 42. x is int32_t; a
 * word is a block, the lowest byte the first row.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_OFFSET_4X1
#include "sc_thumb1_offset.h"

/* The frame below the saved registers. */
.equ START, 0
.equ ADVANCE, 4 /* by how many bytes `start` moves on, less the 16 that LDM moves on by */
.equ X, 8
.equ LAST, 12   /* the last segment of x */
.equ ACC, 16
.equ END, 20    /* of acc */
.equ CURSOR, 24
.equ FRAME, 28

#define BLOCK 32   /* bytes of code */
#define SEGMENT 255

.macro block number
    ldrb r1, [r2, #\number]
    lsls r1, r1, #2
    ldr r1, [r4, r1]
    adds r5, r5, r1
    offset_column r3, \number, r1
.endm

/* Beyond sc_thumb1_offset.h: r1 a column of x, r2 positions, r3 weights, r4 segment of x, r5 sum of the columns
 * that were used, r12 end of the segment's positions, lr end of the loop's blocks; r6 and r7 are free. */
/* frame: 64 bytes */
function sc_matvec_offset_4x1
    save_registers
    sub sp, #FRAME
    str r0, [sp, #CURSOR]
    str r1, [sp, #X]
    str r2, [sp, #ACC]
    keep_rows_and_starts
    ldr r3, [r0, #CURSOR_WEIGHTS]
    ldr r2, [r0, #CURSOR_COLUMNS]
    adr r4, .Lblocks_end
    mov lr, r4
    ldrh r4, [r0, #CURSOR_COLS]
    movs r5, #SEGMENT
    lsls r6, r5, #2
    b .Lblocks_last
.Lblocks_next:
    adds r1, r1, r6
.Lblocks_last:
    subs r4, r4, r5
    bhi .Lblocks_next
    str r1, [sp, #LAST]

.Lblocks_group:
    ldr r0, [sp, #START]
    ldm r0!, {r4-r7}
    ldr r1, [sp, #ADVANCE]
    adds r0, r0, r1
    str r0, [sp, #START]
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    movs r5, #0
    ldr r4, [sp, #X]
.Lblocks_segment:
    @ the first round of the loop computes count modulo 4 blocks: r2 and r3 point so many before its last
    ldrb r0, [r2]
    adds r2, #1
    adds r1, r2, r0
    mov r12, r1
    lsls r0, r0, #30
    lsrs r0, r0, #30
    adds r2, r2, r0
    subs r2, #4
    lsls r1, r0, #2
    adds r3, r3, r1
    subs r3, #16
    lsls r0, r0, #5
    mov r1, lr
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
    adds r3, #16
    cmp r2, r12
    bne .Lblocks_loop

    ldr r0, [sp, #LAST]
    cmp r0, r4
    bne .Lblocks_more_segments
    lsls r5, r5, #7
    mov r0, r8
    mov r1, r9
    mov r6, r10
    mov r7, r11
    subs r0, r0, r5
    subs r1, r1, r5
    subs r6, r6, r5
    subs r7, r7, r5
    ldr r4, [sp, #ACC]
    stm r4!, {r0, r1, r6, r7}
    str r4, [sp, #ACC]
    ldr r0, [sp, #END]
    cmp r0, r4
    bne .Lblocks_group
    return_cursor r3, r2

.Lblocks_more_segments:
    movs r0, #SEGMENT
    lsls r0, r0, #2
    adds r4, r4, r0
    b .Lblocks_segment
end_function sc_matvec_offset_4x1
#endif
