/* What the assembly of this folder shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_THUMB1_H
#define SC_THUMB1_H

/* Offsets into structs of stepcell.h begin with their names: tests/test_kernels_thumb.py checks them. */
#define CURSOR_WEIGHTS 0
#define CURSOR_COLUMNS 4
#define CURSOR_START 8
#define CURSOR_COLS 12
#define CURSOR_STRIDE 14

    .syntax unified
    .thumb

.macro function name
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
.endm

.macro end_function name
    .size \name, . - \name
.endm

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

#endif
