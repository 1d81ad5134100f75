/* What the assembly of this folder shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_THUMB1_H
#define SC_THUMB1_H

#include "sc_thumb.h"

/* 36 bytes of stack, 7 and 6 instructions. */
#define SAVED 36
.macro save_registers
    push {r4-r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {r4-r7}
.endm

.macro restore_registers_and_return
    pop {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4-r7, pc}
.endm

/* To the frame: the end of acc (r2, r3 rows), and of the cursor r0 where starts lie, and by how many bytes they
 * move on at each row group, less the 16 that LDM moves on by. 9 instructions; r4 is lost. */
.macro keep_rows_and_starts
    lsls r3, r3, #2
    adds r3, r2, r3
    str r3, [sp, #END]
    ldr r4, [r0, #CURSOR_START]
    str r4, [sp, #START]
    ldrh r4, [r0, #CURSOR_STRIDE]
    lsls r4, r4, #2
    subs r4, r4, #16
    str r4, [sp, #ADVANCE]
.endm

/* The cursor moves on, and the kernel returns. */
.macro return_cursor weights, columns
    ldr r0, [sp, #CURSOR]
    ldr r1, [sp, #START]
    str r1, [r0, #CURSOR_START]
.ifnb \columns
    str \columns, [r0, #CURSOR_COLUMNS]
.endif
    str \weights, [r0, #CURSOR_WEIGHTS]
    add sp, #FRAME
    restore_registers_and_return
.endm

#endif
