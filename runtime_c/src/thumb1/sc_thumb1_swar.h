/* Two rows in one register, for the kernels of swar storage. SPDX-License-Identifier: Apache-2.0
 *
 * A word P = w0 + 65536 w1 holds one column of two rows. Of two columns, T = P x + P' x' = L + 65536 H, where
 * |L| <= 2 * 127 * 128 = 32512 < 2^15, so H is T >> 16 rounded, and ASRS leaves bit 15, which rounds it, in
 * the carry. The totals of T and of H give both rows: H, and T - (H << 16) modulo 2^32. A row group starts
 * with [b0 + 65536 b1, b1, b2 + 65536 b3, b3].
 *
 * In the loops: r3 weights, r4 and r6 two columns of x, r0 and r1 products,
 * r8 and r5 total of T and of H of rows 0 and 1, r9 and r7 those of rows 2 and 3.
 */
#ifndef SC_THUMB1_SWAR_H
#define SC_THUMB1_SWAR_H
#include "sc_thumb1.h"

/* Two columns of two rows: 7 instructions. */
.macro swar_two_rows total, high
    ldm r3!, {r0, r1}
    muls r0, r4, r0
    muls r1, r6, r1
    adds r0, r0, r1
    add \total, r0
    asrs r0, r0, #16
    adcs \high, \high, r0
.endm

/* The totals of a row group from `start` in the frame, which moves on: 7 instructions. ADVANCE is by how many
 * bytes, less the 16 that LDM moves on by. */
.macro swar_begin start, advance
    ldr r0, [sp, #\start]
    ldm r0!, {r4-r7}
    ldr r1, [sp, #\advance]
    adds r0, r0, r1
    str r0, [sp, #\start]
    mov r8, r4
    mov r9, r6
.endm

/* Four rows to r0!: 7 instructions. */
.macro swar_store
    mov r4, r8
    lsls r1, r5, #16
    subs r4, r4, r1
    mov r6, r9
    lsls r1, r7, #16
    subs r6, r6, r1
    stm r0!, {r4-r7}
.endm

#endif
