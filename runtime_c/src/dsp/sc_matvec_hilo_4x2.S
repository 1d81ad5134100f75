/* Blocks of 4 rows by 2 columns. SPDX-License-Identifier: Apache-2.0
 *
 * Two blocks cost 17 instructions, an odd one 9; sc_dsp_blocks.h has the rest.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_HILO_4X2
#include "sc_dsp_blocks.h"

.macro one_item
    ldrb r6, [r3], #1
    ldm r0!, {r4, r5}
    ldr r6, [r1, r6, lsl #2]
    add_columns r4, r6, r9, r10
    add_columns r5, r6, r11, r12
.endm

.macro two_items
    ldrb r8, [r3], #1
    ldm.w r0!, {r4-r7}
    ldr r8, [r1, r8, lsl #2]
    add_columns r4, r8, r9, r10
    ldrb r4, [r3], #1
    add_columns r5, r8, r11, r12
    ldr r4, [r1, r4, lsl #2]
    add_columns r6, r4, r9, r10
    add_columns r7, r4, r11, r12
.endm

/* frame: 64 bytes */
    blocks_kernel sc_matvec_hilo_4x2, 2 * 255, 68
#endif
