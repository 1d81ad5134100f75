/* Four rows of a word, for the kernels of one byte a weight. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_THUMB2_WORD_H
#define SC_THUMB2_WORD_H
#include "sc_thumb2.h"

/* One column of four rows: 8 instructions, 32 bytes. Rows add up in r4 to r7, exact for any int16 x; r10 is
 * lost, and the word. */
.macro word_column word, x
    sxtb.w r10, \word
    mla r4, r10, \x, r4
    sxtb.w r10, \word, ror #8
    mla r5, r10, \x, r5
    sxtb.w r10, \word, ror #16
    mla r6, r10, \x, r6
    asr.w \word, \word, #24
    mla r7, \word, \x, r7
.endm

#endif
