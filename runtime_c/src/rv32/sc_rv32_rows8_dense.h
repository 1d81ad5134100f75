/* Dense row groups of eight; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME, LOAD_X (lb or lh) and X_SHIFT (log2 of an element's size).
 * rows and cols are not 0.
 *
 * Instructions: 25 a column, 3 for each 8 columns begun, 25 a row group, 34 a call (int16_t x: 36).
 */
#include "sc_rv32_rows8.h"

#define UNROLL 8

#define W a0     /* the next weights */
#define X a1     /* the next elements of x */
#define ACC a2
#define Q a3
#define X_END t0
#define XV t1
#define P t2
#define ACC_END s0
#define START s1

#define FRAME 32
#define X_FIRST 0(sp) /* X at the start of a row group: before x by the columns that the first round skips */
#define W_SKIP 4(sp)  /* minus the bytes of weights of those columns */
#define ENTRY 8(sp)   /* where in the loop the first round starts */
#define STRIDE 12(sp)
#define AT 16(sp)

function NAME
    addi sp, sp, -FRAME
    sw s0, 20(sp)
    sw s1, 24(sp)
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
    andi t2, t2, UNROLL - 1 /* columns that the first round skips */
    slli t3, t2, 3
    neg t3, t3
    sw t3, W_SKIP
    entry_point t4, t2, .Lentries, t3
    sw t4, ENTRY
#if X_SHIFT
    slli t0, t0, X_SHIFT
    slli t2, t2, X_SHIFT
#endif
    add X_END, X, t0
    sub X, X, t2
    sw X, X_FIRST

.Lgroup:
    load8 START, ROWS
    lw P, STRIDE
    lw Q, W_SKIP
    lw XV, ENTRY
    lw X, X_FIRST
    add START, START, P
    add W, W, Q
    jr XV

.macro column number
.Lcolumn\number:
    LOAD_X XV, (\number << X_SHIFT)(X)
    eight_rows (8*\number), W, XV, P, Q
.endm
    column 0
    column 1
    column 2
    column 3
    column 4
    column 5
    column 6
    column 7
    addi X, X, UNROLL << X_SHIFT
    addi W, W, 8 * UNROLL
    bne X, X_END, .Lcolumn0

    store8 ACC, ROWS
    addi ACC, ACC, 32
    bne ACC, ACC_END, .Lgroup

    lw t0, AT
    sw W, CURSOR_WEIGHTS(t0)
    sw START, CURSOR_START(t0)
    lw s0, 20(sp)
    lw s1, 24(sp)
    addi sp, sp, FRAME
    ret
.Lentries:
    .half .Lcolumn0 - .Lentries, .Lcolumn1 - .Lentries, .Lcolumn2 - .Lentries, .Lcolumn3 - .Lentries
    .half .Lcolumn4 - .Lentries, .Lcolumn5 - .Lentries, .Lcolumn6 - .Lentries, .Lcolumn7 - .Lentries
end_function NAME
