/* Eight rows of int8 weights, two words a column, lowest byte first. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_RV32_ROWS8_H
#define SC_RV32_ROWS8_H

#include "sc_rv32.h"

/* The accumulators. No partial sum overflows: |start| + sum |w| |x| is proven below 2^31. */
#define ROWS a4, a5, a6, a7, t3, t4, t5, t6

/* Two rows: their weights at `offset` and the byte after it, times x, onto r0 and r1. 6 instructions, in an
 * order that never uses what was loaded just before. */
.macro two_rows r0, r1, offset, base, x, p, q
    lb \p, (\offset)(\base)
    lb \q, (\offset + 1)(\base)
    mul \p, \p, \x
    mul \q, \q, \x
    add \r0, \r0, \p
    add \r1, \r1, \q
.endm

/* One column of a row group: 24 instructions. */
.macro eight_rows offset, base, x, p, q
    two_rows a4, a5, \offset, \base, \x, \p, \q
    two_rows a6, a7, (\offset+2), \base, \x, \p, \q
    two_rows t3, t4, (\offset+4), \base, \x, \p, \q
    two_rows t5, t6, (\offset+6), \base, \x, \p, \q
.endm

#endif
