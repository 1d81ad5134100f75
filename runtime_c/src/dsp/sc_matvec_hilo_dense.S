/* Dense rows in pairs, two columns of four rows in two words. SPDX-License-Identifier: Apache-2.0
 *
 *   r0 weights  r1 x  r2 acc  r3-r6 words  r7 r8 x of four columns  r9 r11 low  r10 r12 full  lr end of x
 *
 * Four columns cost 14 instructions, an odd pair 9, a turn of up to sixteen columns 2, a row group 12
 * besides; a call 21.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_HILO_DENSE
#include "sc_dsp.h"

/* frame: 64 bytes */
    function sc_matvec_hilo_dense
    push {r0, r4-r11, lr}
    add r8, r2, r3, lsl #2  /* end of acc */
    ldm r0, {r0, r3-r5}     /* weights, -, start, cols | stride << 16 */
    uxth r9, r5
    lsr r5, r5, #16         /* stride in words */
    add lr, r1, r9, lsl #1
    lsrs r9, r9, #2         /* fours of columns; carry: and a pair */
    adr.w r6, .Lfours       /* r6: into the loop, past the fours that its first turn lacks, 56 bytes each */
    rsb r10, r9, #0
    and r10, r10, #3
    rsb r10, r10, r10, lsl #3
    add r6, r6, r10, lsl #3
    bne 1f
    adr.w r6, .Lturn
1:  mov r7, r6              /* r7: where a row group begins */
    bcc 2f
    adr.w r7, .Lpair
2:  push {r1, r4-r8}

.Lgroup:
    ldm r4, {r9-r12}
    add r4, r4, r5, lsl #2
    str r4, [sp, #4]
    mov pc, r7

.Lpair:
    ldm r0!, {r3, r4}
    ldr r5, [r1], #4
    add_columns r3, r5, r9, r10
    add_columns r4, r5, r11, r12
    mov pc, r6

    .balign 4
.Lfours:
    .rept 4
    ldm.w r0!, {r3-r6}
    ldm.w r1!, {r7, r8}
    add_columns r3, r7, r9, r10
    add_columns r4, r7, r11, r12
    add_columns r5, r8, r9, r10
    add_columns r6, r8, r11, r12
    .endr
.Lturn:
    cmp r1, lr
    bne .Lfours

    ldm sp, {r1, r4-r8}     /* x, start, stride, into the loop, where a row group begins, end of acc */
    part_rows r9, r10, r11, r12
    stm r2!, {r9-r12}
    cmp r2, r8
    bne .Lgroup

    ldr r1, [sp, #24]
    str r0, [r1]
    str r4, [r1, #CURSOR_START]
    add sp, sp, #28
    pop {r4-r11, pc}
    end_function sc_matvec_hilo_dense
#endif
