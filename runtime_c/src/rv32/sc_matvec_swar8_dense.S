/* Dense row groups of eight in pairs of rows, int8_t x. SPDX-License-Identifier: Apache-2.0
 *
 * cols is even; rows and cols are not 0. |w| <= 127.
 *
 * Instructions: 38 two columns, 3 for each 8 columns begun, 33 a row group, 40 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR8_DENSE
#include "sc_rv32_swar8.h"

#define UNROLL 4 /* column pairs: what offsets of 7 bits reach, so that loads are compressed */

#define W a0     /* the next weights */
#define X a1     /* the next elements of x */
#define ACC a2
#define HALF a3
#define P a4
#define Q a5
#define X_END t0
#define X0 t1
#define X1 t2
#define ACC_END s0
#define START s1

#define FRAME 48
#define X_FIRST 0(sp) /* X at the start of a row group: before x by the columns that the first round skips */
#define W_SKIP 4(sp)  /* minus the bytes of weights of those columns */
#define ENTRY 8(sp)   /* where in the loop the first round starts */
#define STRIDE 12(sp)
#define AT 16(sp)

/* frame: 48 bytes */
function sc_matvec_swar8_dense
    addi sp, sp, -FRAME
    sw s0, 20(sp)
    sw s1, 24(sp)
    sw s2, 28(sp)
    sw s3, 32(sp)
    sw a0, AT
    lhu t1, CURSOR_STRIDE(a0)
    lhu t0, CURSOR_COLS(a0)
    lw START, CURSOR_START(a0)
    lw W, CURSOR_WEIGHTS(a0)
    slli t1, t1, 2
    sw t1, STRIDE
    slli a3, a3, 2
    add ACC_END, ACC, a3
    neg t2, t0
    andi t2, t2, 2 * UNROLL - 1 /* columns that the first round skips */
    add X_END, X, t0
    sub X, X, t2
    sw X, X_FIRST
    slli t3, t2, 4
    neg t3, t3
    sw t3, W_SKIP
    srli t2, t2, 1
    entry_point t4, t2, .Lentries, t3
    sw t4, ENTRY
    li HALF, 0x8000

.Lgroup:
    load8 START, PAIRS
    lw P, STRIDE
    lw Q, W_SKIP
    lw X0, ENTRY
    lw X, X_FIRST
    add START, START, P
    add W, W, Q
    jr X0

.macro columns number
.Lcolumns\number:
    lb X0, (2*\number)(X)
    lb X1, (2*\number+1)(X)
    four_pairs (32*\number), W, X0, X1, HALF, P, Q
.endm
    columns 0
    columns 1
    columns 2
    columns 3
    addi X, X, 2 * UNROLL
    addi W, W, 32 * UNROLL
    bne X, X_END, .Lcolumns0

    part_pairs P
    store8 ACC, PAIRS
    addi ACC, ACC, 32
    bne ACC, ACC_END, .Lgroup

    lw t0, AT
    sw W, CURSOR_WEIGHTS(t0)
    sw START, CURSOR_START(t0)
    lw s0, 20(sp)
    lw s1, 24(sp)
    lw s2, 28(sp)
    lw s3, 32(sp)
    addi sp, sp, FRAME
    ret
.Lentries:
    .half .Lcolumns0 - .Lentries, .Lcolumns1 - .Lentries, .Lcolumns2 - .Lentries, .Lcolumns3 - .Lentries
end_function sc_matvec_swar8_dense
#endif
