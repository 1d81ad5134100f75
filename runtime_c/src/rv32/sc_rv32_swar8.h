/* Four pairs of rows, two columns a multiplication each. SPDX-License-Identifier: Apache-2.0
 *
 * A weight word holds two rows of one column, P = (w1 << 16) + w0. For two columns
 *     T = P x + P' x' = (s1 << 16) + s0,   |s0|, |s1| <= 2 * 127 * 128 = 32512,
 * so T + 0x8000 does not overflow, and its upper half is s1. Each pair of rows sums T into `packed`, modulo
 * 2^32, and that upper half into `high`: at the end the first row is packed - (high << 16), the second high.
 * Both are proven within int32, and only that counts: `packed` wraps on the way.
 */
#ifndef SC_RV32_SWAR8_H
#define SC_RV32_SWAR8_H

#include "sc_rv32.h"

/* packed and high of each pair of rows, in the order of the table of starts and of the rows */
#define PAIRS t3, a6, t4, a7, t5, s2, t6, s3

/* One pair of rows, two columns: 9 instructions. half = 0x8000. */
.macro row_pair packed, high, offset, base, x0, x1, half, p, q
    lw \p, (\offset)(\base)
    lw \q, (\offset+4)(\base)
    mul \p, \p, \x0
    mul \q, \q, \x1
    add \p, \p, \q
    add \packed, \packed, \p
    add \p, \p, \half
    srai \p, \p, 16
    add \high, \high, \p
.endm

/* Two columns of a row group: 36 instructions. */
.macro four_pairs offset, base, x0, x1, half, p, q
    row_pair t3, a6, (\offset), \base, \x0, \x1, \half, \p, \q
    row_pair t4, a7, (\offset+8), \base, \x0, \x1, \half, \p, \q
    row_pair t5, s2, (\offset+16), \base, \x0, \x1, \half, \p, \q
    row_pair t6, s3, (\offset+24), \base, \x0, \x1, \half, \p, \q
.endm

/* packed becomes the first row of the pair; high is the second. */
.macro part packed, high, temporary
    slli \temporary, \high, 16
    sub \packed, \packed, \temporary
.endm

.macro part_pairs temporary
    part t3, a6, \temporary
    part t4, a7, \temporary
    part t5, s2, \temporary
    part t6, s3, \temporary
.endm

#endif
