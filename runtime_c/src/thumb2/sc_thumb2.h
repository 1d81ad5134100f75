/* What the assembly of this folder shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_THUMB2_H
#define SC_THUMB2_H

#include "sc_thumb.h"

/* Registers and, to the frame, of the cursor r0 where starts lie, and by how many bytes they move on at each row
 * group. r4 and r5 are lost. */
.macro enter
    push {r4-r11, lr}
    sub sp, #FRAME
    ldr r4, [r0, #CURSOR_START]
    ldrh r5, [r0, #CURSOR_STRIDE]
    lsl r5, r5, #2
    strd r4, r5, [sp, #START]
.endm

/* The starts of a row group, to four registers; r0 and r1 are lost. */
.macro load_starts first, last
    ldrd r0, r1, [sp, #START]
    ldm r0, {\first-\last}
    add r0, r0, r1
    str r0, [sp, #START]
.endm

/* A row group to acc; more to `group` if that is not its end. */
.macro store_rows first, last, group
    ldrd r0, r1, [sp, #ACC]
    stm r0!, {\first-\last}
    str r0, [sp, #ACC]
    cmp r0, r1
    bne \group
.endm

/* The cursor moves on, of blocks with their positions in r12, and the kernel returns. */
.macro return_cursor columns
    ldr r0, [sp, #CURSOR]
    ldr r1, [sp, #START]
    str r1, [r0, #CURSOR_START]
.ifnb \columns
    str \columns, [r0, #CURSOR_COLUMNS]
.endif
    str r11, [r0, #CURSOR_WEIGHTS]
    add sp, #FRAME
    pop {r4-r11, pc}
.endm

/* A loop of eight blocks. Its first round computes r0 modulo 8 of them. */
.macro blocks_loop
    and r0, r0, #7
    tbb [pc, r0]
.Lblocks_entries:
    .byte (.Lblocks_end - .Lblocks_entries) / 2
    .irp left, 1, 2, 3, 4, 5, 6, 7
    .byte (.Lblocks_\left - .Lblocks_entries) / 2
    .endr

.Lblocks_loop:
    block
    .irp left, 7, 6, 5, 4, 3, 2, 1
.Lblocks_\left:
    block
    .endr
.Lblocks_end:
.endm

#endif
