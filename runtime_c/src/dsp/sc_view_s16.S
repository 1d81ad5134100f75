/* The int8 view of an int16 vector, stored as int16_t. SPDX-License-Identifier: Apache-2.0
 *
 * min(127, (v + 128) >> 8) is the upper byte of the saturated sum v + 128. Eight elements cost 15
 * instructions, one of the rest 6, a zero 3; a call 11. v may lie at any even address: LDR, unlike LDM, reads
 * there.
 */
#include "sc_isa.h"
#ifdef SC_HAS_VIEW_S16
#include "sc_dsp.h"

.macro view2 word
    qadd16 \word, \word, r12
    sxtb16 \word, \word, ror #8
.endm

/* r0 view  r1 v  r2 elements left  r3 zeros left  r12 128 twice */

/* frame: 16 bytes */
    function sc_view_s16
    push {r4-r7}
    mov r12, #0x00800080
    sub r3, r3, r2
    subs r2, r2, #8
    blo 2f
1:  ldr r4, [r1], #4
    ldr r5, [r1], #4
    ldr r6, [r1], #4
    ldr r7, [r1], #4
    view2 r4
    view2 r5
    view2 r6
    view2 r7
    stm r0!, {r4-r7}
    subs r2, r2, #8
    bhs 1b
2:  adds r2, r2, #8
    beq 4f
3:  ldrh r4, [r1], #2
    qadd16 r4, r4, r12
    sbfx r4, r4, #8, #8
    strh r4, [r0], #2
    subs r2, r2, #1
    bne 3b
4:  cbz r3, 6f
5:  strh r2, [r0], #2
    subs r3, r3, #1
    bne 5b
6:  pop {r4-r7}
    bx lr
    end_function sc_view_s16
#endif
