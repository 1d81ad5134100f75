/* Dense rows times a vector of int8, 16 columns of 8 rows at a time. SPDX-License-Identifier: Apache-2.0
 *
 * A row group is 8 rows in tiles of 16 columns: 16 bytes of each row. Its accumulators are the eight even
 * core registers, because VMLADAVA adds 16 products to one of those; lr is one, so nothing loops by LE. The
 * tiles are unrolled, and a row group jumps to as many of them from the end as it has, so that x is read at
 * fixed distances before its end. Sums wrap modulo 2^32, and the whole sum is proven to fit.
 *
 *   r0 r2 r4 r6 r8 r10 r12 lr sums  r1 end of x  r3 weights  r5 acc  r7 start
 *   r9 rows after this group << 16 | stride in bytes  r11 first tile  q0 x  q1 q2 q3 weights
 *
 * A tile costs 17 instructions, a row group 6 besides, a call 20; up to 256 columns. More of them go in
 * chunks of 256, the first of them what is left over: 18 a chunk, 3 a row group, and 25 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_MVE_DENSE
    .syntax unified
    .thumb
    .section .text.sc_matvec_mve_dense, "ax", %progbits
    .balign 4
    .global sc_matvec_mve_dense
    .type sc_matvec_mve_dense, %function

    .equ TILES, 16      /* unrolled */
    .equ TILE_CODE, 68  /* bytes */
    .equ AT_START, 8
    .equ CHUNKED, 1     /* in r9, instead of rows and stride */

.macro multiply row, weights, vector=q0
    vldrw.u32 \weights, [r3], #16
    vmladava.s8 \row, \vector, \weights
.endm

/* The 16 columns that lie `back` bytes before the end of x. Three registers for weights: a load may run
 * ahead. */
.macro tile back
    vldrw.u32 q0, [r1, #-\back]
    multiply r0, q1
    multiply r2, q2
    multiply r4, q3
    multiply r6, q1
    multiply r8, q2
    multiply r10, q3
    multiply r12, q1
    multiply lr, q2
.endm

/* frame: 64 bytes */
    .thumb_func
sc_matvec_mve_dense:
    push {r0, r4-r11, lr}
    mov r5, r2
    sub r9, r3, #8
    ldm r0, {r3, r4, r7, r8}  /* weights, -, start, cols | stride << 16 */
    lsr r4, r8, #16
    lsl r4, r4, #2
    pkhbt r9, r4, r9, lsl #16
    ubfx r6, r8, #4, #12
    adr r11, .Ltiles_end + 1
    cmp r6, #TILES
    bhi .Lchunks
    mov r4, #TILE_CODE
    mls r11, r6, r4, r11
    uxtah r1, r1, r8

.Lgroup:
    ldm r7, {r0, r2, r4, r6, r8, r10, r12, lr}
    uxtah r7, r7, r9
    bx r11
.Ltiles:
    .irp n, 256, 240, 224, 208, 192, 176, 160, 144, 128, 112, 96, 80, 64, 48, 32, 16
    tile \n
    .endr
.Ltiles_end:
    stm r5!, {r0, r2, r4, r6, r8, r10, r12, lr}
    subs r9, r9, #8 << 16
    bhs .Lgroup
    tst r9, #CHUNKED
    bne .Lnext_chunk
.Ldone:
    pop {r0}
    str r3, [r0]
    str r7, [r0, #AT_START]
    pop {r4-r11, pc}

/* A row group's first chunk takes what is left over of its tiles; later ones start with what it stored. On
 * the stack: end of x in the first chunk, tiles after it, start, r9, the first chunk's first tile, tiles to
 * come. */
.Lchunks:
    sub r4, r6, #1
    and r4, r4, #TILES - 1
    add r4, r4, #1
    sub r6, r6, r4
    add r1, r1, r4, lsl #4
    mov lr, #TILE_CODE
    mls r11, r4, lr, r11
    push {r1, r6, r7, r9, r11, r12}
.Lfirst_chunk:
    ldm sp, {r1, r6, r7}
    ldr r11, [sp, #16]
    str r6, [sp, #20]
    mov r9, #CHUNKED
    b .Lgroup
.Lnext_chunk:
    ldr r6, [sp, #20]
    subs r6, r6, #TILES
    blo .Lall_chunks
    str r6, [sp, #20]
    add r1, r1, #16 * TILES
    adr r11, .Ltiles + 1
    sub r5, r5, #32
    mov r7, r5
    mov r9, #CHUNKED
    b .Lgroup
.Lall_chunks:
    ldrd r7, r9, [sp, #8]
    uxtah r7, r7, r9
    subs r9, r9, #8 << 16
    strd r7, r9, [sp, #8]
    bhs .Lfirst_chunk
    add sp, sp, #24
    b .Ldone
    .size sc_matvec_mve_dense, . - sc_matvec_mve_dense
#endif
