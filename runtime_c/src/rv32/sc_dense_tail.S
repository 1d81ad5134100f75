/* Dense layer: from accumulators to outputs. SPDX-License-Identifier: Apache-2.0
 *
 * Instructions: 20 a row, 9 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_DENSE_TAIL
#include "sc_rv32_gates.h"

/* sc_dense_layer */
#define DENSE_POST_HALF 24
#define DENSE_POST_SHIFT 28
#define DENSE_PRE_SHIFT 35
#define DENSE_LEAST 36

#define V a0
#define ACC a1
#define MULTIPLIERS a2
#define Y_END a3
#define Y a4
#define T a5
#define PRE_SHIFT a6
#define POST_HALF a7
#define POST_SHIFT t0
#define LEAST t1
#define C32768 t2
#define C65536 t3

/* frame: 0 bytes */
function sc_dense_tail
    slli a3, a3, 1
    add Y_END, a3, Y
    lbu PRE_SHIFT, DENSE_PRE_SHIFT(a0)
    lw POST_HALF, DENSE_POST_HALF(a0)
    lbu POST_SHIFT, DENSE_POST_SHIFT(a0)
    lh LEAST, DENSE_LEAST(a0)
    lui C32768, 8
    lui C65536, 16
.Lrow:
    lw V, 0(ACC)
    lhu T, 0(MULTIPLIERS)
    sra V, V, PRE_SHIFT
    mul V, V, T
    round V, POST_HALF, POST_SHIFT
    saturate V, C32768, C65536, T
    slt T, V, LEAST /* below 0, for a relu: 0; nothing is below -32768 */
    addi T, T, -1
    and V, V, T
    sh V, 0(Y)
    addi ACC, ACC, 4
    addi MULTIPLIERS, MULTIPLIERS, 2
    addi Y, Y, 2
    bne Y, Y_END, .Lrow
    ret
end_function sc_dense_tail
#endif
