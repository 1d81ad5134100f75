/* GRU with linear_before_reset = 1: from accumulators to the state. SPDX-License-Identifier: Apache-2.0
 *
 * Instructions: 101 a unit, 42 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_GRU_TAIL
#include "sc_rv32_gates.h"

/* sc_gru_layer */
#define GRU_POST_HALF 44
#define GRU_POST_SHIFT 48
#define GRU_CANDIDATE_INPUT_HALF 52
#define GRU_CANDIDATE_INPUT_SHIFT 56
#define GRU_CANDIDATE_RECURRENT_HALF 60
#define GRU_CANDIDATE_RECURRENT_SHIFT 64
#define GRU_GRAIN 70
#define GRU_INPUT_SHIFT 71
#define GRU_RECURRENT_SHIFT 72

#define V a0
#define ACC a1
#define MULTIPLIERS a2
#define T a3
#define H a4
#define R a5
#define INPUT_SHIFT a6
#define RECURRENT_SHIFT a7
#define M t0
#define POST_HALF t1
#define POST_SHIFT t2
#define TABLE t3
#define H_END t4
#define N_INPUT_HALF t5
#define N_INPUT_SHIFT t6
#define Z s0
#define N_ACC s1          /* the accumulators and multipliers of the candidates */
#define N_MULTIPLIERS s2
#define N_RECURRENT_HALF s3
#define N_RECURRENT_SHIFT s4
#define C16384 s5
#define C32768 s6
#define C65536 s7

/* frame: 32 bytes */
function sc_gru_tail
    addi sp, sp, -32
    sw s0, 0(sp)
    sw s1, 4(sp)
    sw s2, 8(sp)
    sw s3, 12(sp)
    sw s4, 16(sp)
    sw s5, 20(sp)
    sw s6, 24(sp)
    sw s7, 28(sp)
    slli M, a3, 1
    add H_END, H, M
    lbu M, GRU_GRAIN(a0)  /* the pass: at most SC_PASS units, which grain divides, rounded up to grains */
    add T, a3, M
    addi T, T, -1
    neg M, M
    and T, T, M
    slli T, T, 3          /* 2 rows a unit come before the candidates */
    add N_ACC, ACC, T
    add N_MULTIPLIERS, MULTIPLIERS, T
    lbu INPUT_SHIFT, GRU_INPUT_SHIFT(a0)
    lbu RECURRENT_SHIFT, GRU_RECURRENT_SHIFT(a0)
    lw POST_HALF, GRU_POST_HALF(a0)
    lbu POST_SHIFT, GRU_POST_SHIFT(a0)
    lw N_INPUT_HALF, GRU_CANDIDATE_INPUT_HALF(a0)
    lbu N_INPUT_SHIFT, GRU_CANDIDATE_INPUT_SHIFT(a0)
    lw N_RECURRENT_HALF, GRU_CANDIDATE_RECURRENT_HALF(a0)
    lbu N_RECURRENT_SHIFT, GRU_CANDIDATE_RECURRENT_SHIFT(a0)
    lla TABLE, sc_sigmoid_table
    lui C16384, 4
    lui C32768, 8
    lui C65536, 16

.macro gate v, row
    preactivation \v, \row, ACC, MULTIPLIERS, INPUT_SHIFT, RECURRENT_SHIFT, POST_HALF, POST_SHIFT, T, M
    sigmoid \v, 8, TABLE, T, M
.endm
.Lunit:
    gate Z, 0
    gate R, 1

    lw V, PASS_RECURRENT(N_ACC)
    lhu M, 2(N_MULTIPLIERS)
    lw T, 0(N_ACC)
    sra V, V, RECURRENT_SHIFT
    mul V, V, M
    lhu M, 0(N_MULTIPLIERS)
    round V, N_RECURRENT_HALF, N_RECURRENT_SHIFT
    sra T, T, INPUT_SHIFT
    mul T, T, M
    round T, N_INPUT_HALF, N_INPUT_SHIFT /* |px| <= 2^29 */
    saturate V, C32768, C65536, M        /* ph */
    mul V, V, R
    add V, V, C16384
    srai V, V, 15
    add V, V, T
    sigmoid V, 7, TABLE, T, M
    lh T, 0(H)
    slli V, V, 1
    sub V, V, C32768 /* n = tanh */

    sub T, T, V
    mul T, T, Z      /* |z * (h - n)| + 2^14 <= 32767 * 65535 + 2^14 < 2^31 */
    addi ACC, ACC, 8
    add T, T, C16384
    srai T, T, 15
    add V, V, T
    sh V, 0(H)

    addi H, H, 2
    addi N_ACC, N_ACC, 4
    addi MULTIPLIERS, MULTIPLIERS, 8
    addi N_MULTIPLIERS, N_MULTIPLIERS, 4
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
end_function sc_gru_tail
#endif
