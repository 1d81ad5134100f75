/* Two rows in one register, for the kernels of swar storage. SPDX-License-Identifier: Apache-2.0
 *
 * A word P = w0 + 65536 w1 holds one column of two rows. Of two columns, T = P x + P' x' + 2^15 =
 * L + 65536 H + 2^15, where |L| <= 2 * 127 * 128 = 32512 < 2^15, so H = T >> 16. The totals of T and of H
 * give both rows: H, and T - (H << 16) less 2^15 for every two columns, modulo 2^32. A row group starts with
 * [b0 + 65536 b1, b1, b2 + 65536 b3, b3].
 *
 * In the loops: r0 to r3 weights, r4 and r5 two columns of x, r6 and r7 total of T and of H of rows 0 and 1,
 * r8 and r9 those of rows 2 and 3, r10 2^15, r11 weights.
 */
#ifndef SC_THUMB2_SWAR_H
#define SC_THUMB2_SWAR_H
#include "sc_thumb2.h"

/* Two columns of four rows: 9 instructions, 36 bytes. */
.macro swar_four_rows
    ldm.w r11!, {r0-r3}
    mla r0, r0, r4, r10
    mla r2, r2, r4, r10
    mla r0, r1, r5, r0
    mla r2, r3, r5, r2
    add.w r6, r6, r0
    add.w r7, r7, r0, asr #16
    add.w r8, r8, r2
    add.w r9, r9, r2, asr #16
.endm

/* T - (H << 16). */
.macro swar_end
    sub r6, r6, r7, lsl #16
    sub r8, r8, r9, lsl #16
.endm

#endif
