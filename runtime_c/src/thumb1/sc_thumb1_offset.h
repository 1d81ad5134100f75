/* Four rows of unsigned bytes, for the kernels of offset storage. SPDX-License-Identifier: Apache-2.0
 *
 * A byte u = w + 128 is loaded unsigned, so 128 times the sum of x is too much in every row. Sums wrap modulo
 * 2^32, and are exact for any int16 x.
 */
#ifndef SC_THUMB1_OFFSET_H
#define SC_THUMB1_OFFSET_H
#include "sc_thumb1.h"

/* One column of four rows, the word at weights + 4 number: 12 instructions. Rows add up in r8 to r11; r0 is
 * lost. */
.macro offset_column weights, number, x
    ldrb r0, [\weights, #4 * (\number)]
    muls r0, \x, r0
    add r8, r0
    ldrb r0, [\weights, #4 * (\number) + 1]
    muls r0, \x, r0
    add r9, r0
    ldrb r0, [\weights, #4 * (\number) + 2]
    muls r0, \x, r0
    add r10, r0
    ldrb r0, [\weights, #4 * (\number) + 3]
    muls r0, \x, r0
    add r11, r0
.endm

#endif
