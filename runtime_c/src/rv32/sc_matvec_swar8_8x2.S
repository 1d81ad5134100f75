/* Blocks of 8 rows and 2 columns in pairs of rows, int8_t x. SPDX-License-Identifier: Apache-2.0
 *
 * cols is even; rows is not 0. |w| <= 127.
 *
 * Instructions: 42.5 a block, 8 a segment (12.5 if its blocks are odd in number, 7 if it has none), 29 a row
 * group, 32 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR8_8X2
#include "sc_rv32_swar8.h"

#define SEGMENT 510 /* columns */

#define W a0
#define X a1     /* the first element of the segment */
#define ACC a2
#define HALF a3
#define P a4
#define Q a5
#define I t0     /* the next position */
#define X0 t1
#define X1 t2
#define I_END s0
#define START s1
#define ACC_END s4
#define X_END s5

#define FRAME 48
#define X_FIRST 0(sp)
#define STRIDE 4(sp)
#define AT 8(sp)

/* frame: 48 bytes */
function sc_matvec_swar8_8x2
    addi sp, sp, -FRAME
    sw s0, 12(sp)
    sw s1, 16(sp)
    sw s2, 20(sp)
    sw s3, 24(sp)
    sw s4, 28(sp)
    sw s5, 32(sp)
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
    add X_END, X, t2
    li HALF, 0x8000

.Lgroup:
    load8 START, PAIRS
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
    addi W, W, -32
    j .Lodd

.macro block number
    lbu X1, (\number)(I)
    slli X1, X1, 1
    add X1, X1, X
    lb X0, 0(X1)
    lb X1, 1(X1)
    four_pairs (32*\number), W, X0, X1, HALF, P, Q
.endm
.Lblocks:
    block 0
.Lodd:
    block 1
    addi I, I, 2
    addi W, W, 64
    bne I, I_END, .Lblocks

.Lsegment_end:
    addi X, X, SEGMENT
    bltu X, X_END, .Lsegment

    part_pairs P
    store8 ACC, PAIRS
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
    lw s4, 28(sp)
    lw s5, 32(sp)
    addi sp, sp, FRAME
    ret
end_function sc_matvec_swar8_8x2
#endif
