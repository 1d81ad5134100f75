/* What the assembly of this folder shares. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_DSP_H
#define SC_DSP_H

#include "sc_thumb.h"

/* Rows in pairs: a halfword is 256 * w1 + w0 for two rows of a column (|w| <= 127, so it fits), a word two
 * columns. `full` sums x times whole halfwords from b0 + 256 * b1 on, `low` x times their low bytes, sign
 * extended by SXTB16, from b0 on. The difference is 256 times the high row, exact modulo 2^32, and
 * |high row| < 2^23 by the packer's proof. The word is spent. */
.macro add_columns word, x, low, full
    smlad \full, \word, \x, \full
    sxtb16 \word, \word
    smlad \low, \word, \x, \low
.endm

/* The sums of the four rows, in place. */
.macro part_rows low0, full0, low1, full1
    sub \full0, \full0, \low0
    asr \full0, \full0, #8
    sub \full1, \full1, \low1
    asr \full1, \full1, #8
.endm

#endif
