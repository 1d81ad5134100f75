/* Dense rows of 4-bit weights: a halfword is four rows of a column. SPDX-License-Identifier: Apache-2.0
 *
 * A halfword is 4096 * w3 + 256 * (w2 + 8) + 16 * (w1 + 8) + (w0 + 8). r9-r11 sum its three lower digits in
 * their places, at most 2^31 by the packer's proof, and r12 the whole, modulo 2^32. Each is shifted right
 * from its place, and the first three have 8 times the sum of x too much.
 *
 *   r0 weights  r1 x  r2 end of x  r3-r6 words  r7 r8 x of four columns  r9-r12 sums  lr digits
 *
 * Eight columns cost 31 instructions, four 17, a turn of up to sixteen 2, a row group 16 besides; a call 37,
 * and 7 for each eight columns to sum x.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_NIBBLE_DENSE
#include "sc_dsp.h"

    .equ SAVED_START, 8
    .equ SAVED_ACC, 24
    .equ SAVED_AT, 32

.macro add_digits word, x
    and lr, \word, #0x000f000f
    smlad r9, lr, \x, r9
    and lr, \word, #0x00f000f0
    smlad r10, lr, \x, r10
    and lr, \word, #0x0f000f00
    smlad r11, lr, \x, r11
    smlad r12, \word, \x, r12
.endm

/* frame: 72 bytes */
    function sc_matvec_nibble_dense
    push {r0, r4-r11, lr}
    mov r8, r2                  /* acc */
    add r9, r2, r3, lsl #2      /* end of acc */
    ldm r0, {r0, r3-r5}         /* weights, -, start, cols | stride << 16 */
    mov r3, r9
    uxth r10, r5
    lsr r5, r5, #16             /* stride in words */
    add r2, r1, r10, lsl #1
    mov lr, #0                  /* 8 times the sum of x */
    mov r7, #0x00080008
    mov r6, r1
    lsrs r9, r10, #3            /* eights of columns; carry: and a four */
    bcc 2f
    ldm r6!, {r11, r12}
    smlad lr, r11, r7, lr
    smlad lr, r12, r7, lr
    b 2f
1:  ldm r6!, {r9-r12}
    smlad lr, r9, r7, lr
    smlad lr, r10, r7, lr
    smlad lr, r11, r7, lr
    smlad lr, r12, r7, lr
2:  cmp r6, r2
    bne 1b

    sub r10, r2, r1             /* 2 * cols */
    adr.w r7, .Leights          /* r7: into the loop */
    tst r10, #16
    beq 1f
    adr.w r7, .Lodd_eight
1:  lsrs r9, r10, #4            /* eights of columns; carry: and a four */
    bne 2f
    adr.w r7, .Lturn
2:  mov r6, r7                  /* r6: where a row group begins */
    bcc 3f
    adr.w r6, .Lfour
3:  push {r1, r3-r8, lr}

.Lgroup:
    ldm r4, {r9-r12}
    add r4, r4, r5, lsl #2
    str r4, [sp, #SAVED_START]
    mov pc, r6

.Lfour:
    ldm r0!, {r3, r4}
    ldm r1!, {r5, r6}
    add_digits r3, r5
    add_digits r4, r6
    mov pc, r7

.macro add_eight
    ldm.w r0!, {r3-r6}
    ldm r1!, {r7, r8}
    add_digits r3, r7
    add_digits r4, r8
    ldm r1!, {r7, r8}
    add_digits r5, r7
    add_digits r6, r8
.endm

    .balign 4
.Leights:
    add_eight
.Lodd_eight:
    add_eight
.Lturn:
    cmp r1, r2
    bne .Leights

    /* x, end of acc, start, stride, where a row group begins, into the loop, acc, 8 times the sum of x */
    ldm sp, {r1, r3-r8, lr}
    sub r12, r12, r11
    sub r12, r12, r10
    sub r12, r12, r9
    asr r12, r12, #12
    rsb r11, lr, r11, asr #8
    rsb r10, lr, r10, asr #4
    sub r9, r9, lr
    stm r8!, {r9-r12}
    str r8, [sp, #SAVED_ACC]
    cmp r8, r3
    bne .Lgroup

    ldr r1, [sp, #SAVED_AT]
    str r0, [r1]
    str r4, [r1, #CURSOR_START]
    add sp, sp, #36
    pop {r4-r11, pc}
    end_function sc_matvec_nibble_dense
#endif
