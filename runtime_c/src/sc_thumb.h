/* What all Thumb assembly shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_THUMB_H
#define SC_THUMB_H

/* Offsets into sc_cursor (stepcell.h): tests/test_kernels_thumb.py checks them. */
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

#endif
