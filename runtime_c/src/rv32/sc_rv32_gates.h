/* The arithmetic of sc_arithmetic.h for RV32, without branches. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_RV32_GATES_H
#define SC_RV32_GATES_H

#include "sc_rv32.h"

#define PASS_RECURRENT 128 /* sc_pass: from an input accumulator to the recurrent one of its row */

/* v = (v + half) >> shift */
.macro round v, half, shift
    add \v, \v, \half
    sra \v, \v, \shift
.endm

/* v = what the two accumulators of a row make before saturation, |v| < 2^30. 11 instructions. */
.macro preactivation v, row, acc, multipliers, input_shift, recurrent_shift, half, shift, t, m
    lw \v, (4*\row)(\acc)
    lhu \m, (4*\row)(\multipliers)
    lw \t, (4*\row+PASS_RECURRENT)(\acc)
    sra \v, \v, \input_shift
    mul \v, \v, \m
    lhu \m, (4*\row+2)(\multipliers)
    sra \t, \t, \recurrent_shift
    mul \t, \t, \m
    add \v, \v, \t
    round \v, \half, \shift
.endm

/* v = sigmoid(sat16(2^(8 - bits) * v)): bits = 8 for sigmoid, 7 for what tanh makes of it. 14 instructions.
 *
 * Only the index is saturated: at both ends of the table the rise is 0, whatever v. The index, 0..255, is
 * four times as large here: k = (v >> (bits - 2)) + 512. Outside 0..1023, the sign of k inverted is the end of
 * the table; inside, |rise * v| + 128 < 2^26. */
.macro sigmoid v, bits, table, t, m
    srai \t, \v, (\bits-2)
    addi \t, \t, 512
    sltiu \m, \t, 1024
    addi \m, \m, -1 /* all ones if out of range */
    sra \t, \t, \m  /* by 31 or 0 */
    xor \t, \t, \m
    andi \t, \t, 0x3fc
    add \t, \t, \table
    lhu \m, 2(\t) /* rise */
    lhu \t, 0(\t)
    mul \m, \m, \v
    addi \m, \m, (1<<(\bits-1))
    srai \m, \m, \bits
    add \v, \m, \t
.endm

/* v = sat16(v), |v| < 2^31 - 2^15. 6 instructions. */
.macro saturate v, c32768, c65536, t
    add \t, \v, \c32768
    sltu \t, \t, \c65536
    addi \t, \t, -1 /* all ones if out of range */
    sra \v, \v, \t  /* then the sign, */
    srli \t, \t, 17
    xor \v, \v, \t  /* and 32767 or -32768 of it */
.endm

#endif
