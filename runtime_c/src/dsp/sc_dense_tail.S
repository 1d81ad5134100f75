/* Dense layer: from accumulators to outputs, 9 instructions a row. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#ifdef SC_HAS_DENSE_TAIL
#include "sc_dsp.h"

    /* offsets in sc_dense_layer */
    .equ LAYER_POST, 24
    .equ LAYER_PRE_SHIFT, 35
    .equ LAYER_LEAST, 36
    .equ SAVED, 24 /* bytes: y lies beyond */

/* Saturates to int16 (ssat 16) or, for a relu, to its positive half (usat 15). acc >> pre fits 16 bits. */
.macro rows saturate, bits
1:  ldr r4, [r1], #4
    ldrh r5, [r2], #2
    asr r4, r4, r12
    smlabb r4, r4, r5, r6
    asr r4, r4, r7
    \saturate r4, #\bits, r4
    strh r4, [lr], #2
    subs r3, r3, #1
    bne 1b
    pop {r3-r7, pc}
.endm

/* r1 acc  r2 multipliers  r3 rows left  r6 half  r7 post shift  r12 pre shift  lr y */

/* frame: 24 bytes */
    function sc_dense_tail
    push {r3-r7, lr}
    ldr lr, [sp, #SAVED]
    ldrd r6, r7, [r0, #LAYER_POST]
    ldrb r12, [r0, #LAYER_PRE_SHIFT]
    ldrh r0, [r0, #LAYER_LEAST]
    cbz r0, 2f
    rows ssat, 16
2:  rows usat, 15
    end_function sc_dense_tail
#endif
