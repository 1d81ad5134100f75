/* LSTM: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * Instructions: 143 a unit, 41 a call (2 more if cell_bits < 11).
 */
#include "sc_isa.h"
#ifdef SC_HAS_LSTM_TAIL
#include "sc_rv32_gates.h"

/* sc_lstm_layer */
#define LSTM_POST_HALF 44
#define LSTM_POST_SHIFT 48
#define LSTM_INPUT_SHIFT 55
#define LSTM_RECURRENT_SHIFT 56
#define LSTM_CELL_BITS 57

#define V a0
#define ACC a1
#define MULTIPLIERS a2
#define T a3
#define H a4
#define C a5
#define I a6
#define O a7
#define M t0
#define INPUT_SHIFT t1
#define RECURRENT_SHIFT t2
#define POST_HALF t3
#define POST_SHIFT t4
#define TABLE t5
#define H_END t6
#define F s0
#define FRESH_HALF s1  /* rounds i * g, and then the sum with f * c */
#define FRESH_SHIFT s2
#define CELL_LEFT s3   /* c to Q4.11: left, or right and rounded */
#define CELL_HALF s4
#define CELL_RIGHT s5
#define C32768 s6
#define C8192 s7

/* frame: 32 bytes */
function sc_lstm_tail
    addi sp, sp, -32
    sw s0, 0(sp)
    sw s1, 4(sp)
    sw s2, 8(sp)
    sw s3, 12(sp)
    sw s4, 16(sp)
    sw s5, 20(sp)
    sw s6, 24(sp)
    sw s7, 28(sp)
    slli T, a3, 1
    add H_END, H, T
    lbu INPUT_SHIFT, LSTM_INPUT_SHIFT(a0)
    lbu RECURRENT_SHIFT, LSTM_RECURRENT_SHIFT(a0)
    lw POST_HALF, LSTM_POST_HALF(a0)
    lbu POST_SHIFT, LSTM_POST_SHIFT(a0)
    lbu T, LSTM_CELL_BITS(a0)
    lla TABLE, sc_sigmoid_table
    lui C32768, 8
    lui C8192, 2

    li FRESH_SHIFT, 15
    sub FRESH_SHIFT, FRESH_SHIFT, T
    addi M, C32768, 1 /* 2^(shift-1) + (2^14 << shift), at most 2^29 + 2^14 */
    sll M, M, FRESH_SHIFT
    srli FRESH_HALF, M, 1

    li CELL_LEFT, 0
    addi CELL_RIGHT, T, -11
    bgez CELL_RIGHT, .Lright
    neg CELL_LEFT, CELL_RIGHT
    li CELL_RIGHT, 0
.Lright:
    li M, 1
    sll M, M, CELL_RIGHT
    srli CELL_HALF, M, 1

.macro gate v, row, bits
    preactivation \v, \row, ACC, MULTIPLIERS, INPUT_SHIFT, RECURRENT_SHIFT, POST_HALF, POST_SHIFT, T, M
    sigmoid \v, \bits, TABLE, T, M
.endm
.Lunit:
    gate I, 0, 8
    gate O, 1, 8
    gate F, 2, 8
    gate V, 3, 7
    lh T, 0(C)
    slli V, V, 1
    sub V, V, C32768 /* tanh */
    mul V, V, I      /* |i * g| < 2^30 */
    mul T, T, F
    round V, FRESH_HALF, FRESH_SHIFT
    add V, V, T      /* |f * c + i * g| + 2^14 < 2^31 */

    slli T, V, 1     /* c' = sat16(V >> 15): out of range if the upper two bits differ */
    xor T, T, V
    srai T, T, 31
    ori M, T, 15     /* then shift by 31, */
    sra V, V, M
    srli T, T, 17
    xor V, V, T      /* and take 32767 or -32768 of the sign */
    sh V, 0(C)

    sll V, V, CELL_LEFT /* at most 2^26 */
    round V, CELL_HALF, CELL_RIGHT
    sigmoid V, 7, TABLE, T, M
    mul V, V, O      /* h' = (o * (2 * V - 2^15) + 2^14) >> 15 */
    addi C, C, 2
    add V, V, C8192
    srai V, V, 14
    sub V, V, O
    sh V, 0(H)

    addi H, H, 2
    addi ACC, ACC, 16
    addi MULTIPLIERS, MULTIPLIERS, 16
    bne H, H_END, .Lunit

    lw s0, 0(sp)
    lw s1, 4(sp)
    lw s2, 8(sp)
    lw s3, 12(sp)
    lw s4, 16(sp)
    lw s5, 20(sp)
    lw s6, 24(sp)
    lw s7, 28(sp)
    addi sp, sp, 32
    ret
end_function sc_lstm_tail
#endif
