/* Row groups of blocks, rows in pairs. SPDX-License-Identifier: Apache-2.0
 *
 * A row group's items go by eights, in pairs; the first turn enters behind the pairs that it lacks. An item
 * is two words. The includer defines what one and two items do, as macros one_item and two_items:
 *
 *   r0 weights  r1 x of the segment  r2 acc  r3 columns  r4-r7 words  r8 x  r9 r11 low  r10 r12 full
 *   lr items left
 *
 * one_item spends r4-r6 alone. A turn costs 2 instructions besides its items, an odd item 1 more, a row group
 * 15; a call 12. Each further segment costs 10, all of them 7.
 */
#ifndef SC_DSP_BLOCKS_H
#define SC_DSP_BLOCKS_H

#include "sc_dsp.h"

    .equ SAVED_AT, 16
    .equ SAVED_X, 20

/* Where a turn enters, in halfwords from `table`: behind the pairs that it lacks. */
.macro entry pairs, table, pair_bytes
    .byte (.Lpairs - \table + (4 - \pairs) * \pair_bytes) / 2
.endm

.macro blocks_kernel name, segment_columns, pair_bytes
    function \name
    push {r0-r2, r4-r11, lr}
    add r6, r2, r3, lsl #2  /* end of acc */
    ldm r0, {r0, r3-r5}     /* weights, columns, start, cols | stride << 16 */
    uxth r7, r5
    lsr r5, r5, #16         /* stride in words */
    subw r7, r7, #\segment_columns
    bic r7, r7, r7, asr #31 /* columns beyond the first segment */
    push {r4-r7}

.Lgroup:
    ldm r4, {r9-r12}
    add r4, r4, r5, lsl #2
    str r4, [sp]
.Lsegment:
    ldrb lr, [r3], #1
    and r8, lr, #7
    tbb [pc, r8]
.Lany:
    entry 0, .Lany, \pair_bytes
    .byte (.Lone - .Lany) / 2
    entry 1, .Lany, \pair_bytes
    .byte (.Lone - .Lany) / 2
    entry 2, .Lany, \pair_bytes
    .byte (.Lone - .Lany) / 2
    entry 3, .Lany, \pair_bytes
    .byte (.Lone - .Lany) / 2
.Lone:
    one_item
    tbb [pc, r8]
.Lodd:
    .byte 0
    entry 0, .Lodd, \pair_bytes
    .byte 0
    entry 1, .Lodd, \pair_bytes
    .byte 0
    entry 2, .Lodd, \pair_bytes
    .byte 0
    entry 3, .Lodd, \pair_bytes

    .balign 4
.Lpairs:
    .rept 4
    two_items
    .endr
    subs lr, lr, #8
    bpl .Lpairs

    ldm sp, {r4-r7}         /* start, stride, end of acc, columns beyond the first segment */
    cbnz r7, .Lnext_segment
.Lstore:
    part_rows r9, r10, r11, r12
    stm r2!, {r9-r12}
    cmp r2, r6
    bne .Lgroup

    ldr r1, [sp, #SAVED_AT]
    stm r1, {r0, r3, r4}    /* weights, columns, start */
    add sp, sp, #28
    pop {r4-r11, pc}

.Lnext_segment:
    ldr r8, [sp, #SAVED_X]
    sub r8, r1, r8
    add r1, r1, #2 * \segment_columns
    cmp r8, r7, lsl #1
    blo .Lsegment
    ldr r1, [sp, #SAVED_X]
    b .Lstore
    end_function \name
.endm

#endif
