/* Blocks of 4 rows by 1 column, in pairs of any two columns of a row group. SPDX-License-Identifier:
 * Apache-2.0
 *
 * An item is such a pair. Two pairs cost 23 instructions, an odd one 12; sc_dsp_blocks.h has the rest.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_HILO_4X1
#include "sc_dsp_blocks.h"

/* The next two listed columns of x in a word. */
.macro gather x, second
    ldrb \x, [r3], #1
    ldrb \second, [r3], #1
    ldrh \x, [r1, \x, lsl #1]
    ldrh \second, [r1, \second, lsl #1]
    pkhbt \x, \x, \second, lsl #16
.endm

.macro one_item
    gather r6, r4
    ldm r0!, {r4, r5}
    add_columns r4, r6, r9, r10
    add_columns r5, r6, r11, r12
.endm

.macro two_items
    gather r8, r4
    ldm.w r0!, {r4-r7}
    add_columns r4, r8, r9, r10
    add_columns r5, r8, r11, r12
    gather r8, r4
    add_columns r6, r8, r9, r10
    add_columns r7, r8, r11, r12
.endm

/* frame: 64 bytes */
    blocks_kernel sc_matvec_hilo_4x1, 255, 92
#endif
