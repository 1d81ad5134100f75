/* Blocks of 8 rows and 1 column; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME, LOAD_X (lb or lh) and X_SHIFT (log2 of an element's size). rows is not 0.
 *
 * Instructions: 28.5 a block (int16_t x: 29.5), 8 a segment (12.5 if its blocks are odd in number, 7 if it has
 * none), 21 a row group, 27 a call (int16_t x: 28).
 */
#include "sc_rv32_rows8.h"

#define SEGMENT (255 << X_SHIFT) /* bytes of x */

#define W a0
#define X a1     /* the first element of the segment */
#define ACC a2
#define Q a3
#define I t0     /* the next position */
#define I_END t1
#define P t2
#define XV s3
#define ACC_END s0
#define START s1
#define X_END s2

#define FRAME 32
#define X_FIRST 0(sp)
#define STRIDE 4(sp)
#define AT 8(sp)

function NAME
    addi sp, sp, -FRAME
    sw s0, 12(sp)
    sw s1, 16(sp)
    sw s2, 20(sp)
    sw s3, 24(sp)
    sw X, X_FIRST
    sw a0, AT
    lhu t1, CURSOR_STRIDE(a0)
    lhu t2, CURSOR_COLS(a0)
    lw I, CURSOR_COLUMNS(a0)
    lw START, CURSOR_START(a0)
    lw W, CURSOR_WEIGHTS(a0)
    slli t1, t1, 2
    sw t1, STRIDE
    slli a3, a3, 2
    add ACC_END, ACC, a3
#if X_SHIFT
    slli t2, t2, X_SHIFT
#endif
    add X_END, X, t2

.Lgroup:
    load8 START, ROWS
    lw P, STRIDE
    lw X, X_FIRST
    add START, START, P

.Lsegment:
    lbu Q, 0(I) /* blocks */
    addi I, I, 1
    add I_END, I, Q
    andi P, Q, 1
    beqz Q, .Lsegment_end
    beqz P, .Lblocks
    addi I, I, -1 /* an odd count: the first round is half a round */
    addi W, W, -8
    j .Lodd

.macro block number
    lbu XV, (\number)(I)
#if X_SHIFT
    slli XV, XV, X_SHIFT
#endif
    add XV, XV, X
    LOAD_X XV, 0(XV)
    eight_rows (8*\number), W, XV, P, Q
.endm
.Lblocks:
    block 0
.Lodd:
    block 1
    addi I, I, 2
    addi W, W, 16
    bne I, I_END, .Lblocks

.Lsegment_end:
    addi X, X, SEGMENT
    bltu X, X_END, .Lsegment

    store8 ACC, ROWS
    addi ACC, ACC, 32
    bne ACC, ACC_END, .Lgroup

    lw t1, AT
    sw W, CURSOR_WEIGHTS(t1)
    sw I, CURSOR_COLUMNS(t1)
    sw START, CURSOR_START(t1)
    lw s0, 12(sp)
    lw s1, 16(sp)
    lw s2, 20(sp)
    lw s3, 24(sp)
    addi sp, sp, FRAME
    ret
end_function NAME
