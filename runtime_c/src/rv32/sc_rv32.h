/* What the RV32 kernels share. SPDX-License-Identifier: Apache-2.0
 *
 * Assembly for any core with the M extension; with the C extension most instructions shrink by themselves.
 */
#ifndef SC_RV32_H
#define SC_RV32_H

/* sc_cursor (stepcell.h); tests/test_kernels_rv32.py checks such offsets. */
#define CURSOR_WEIGHTS 0
#define CURSOR_COLUMNS 4
#define CURSOR_START 8
#define CURSOR_COLS 12
#define CURSOR_STRIDE 14

/* A function in a section of its own, and its end. */
.macro function name
    .section .text.\name, "ax", @progbits
    .balign 4
    .globl \name
    .type \name, @function
\name:
.endm

.macro end_function name
    .size \name, . - \name
.endm

/* Eight words from or to memory. */
.macro load8 base, r0, r1, r2, r3, r4, r5, r6, r7
    lw \r0, 0(\base)
    lw \r1, 4(\base)
    lw \r2, 8(\base)
    lw \r3, 12(\base)
    lw \r4, 16(\base)
    lw \r5, 20(\base)
    lw \r6, 24(\base)
    lw \r7, 28(\base)
.endm

.macro store8 base, r0, r1, r2, r3, r4, r5, r6, r7
    sw \r0, 0(\base)
    sw \r1, 4(\base)
    sw \r2, 8(\base)
    sw \r3, 12(\base)
    sw \r4, 16(\base)
    sw \r5, 20(\base)
    sw \r6, 24(\base)
    sw \r7, 28(\base)
.endm

/* to = the address that entry number `index` of the table at `label` names, relative to the table: a loop of
 * several equal parts is entered where the last parts of its first round are as many as are left over. */
.macro entry_point to, index, label, temporary
    lla \temporary, \label
    slli \to, \index, 1
    add \to, \to, \temporary
    lh \to, 0(\to)
    add \to, \to, \temporary
.endm

#endif
