/* stepcell runtime: integer recurrent layers with dense and block-sparse weights.
 * SPDX-License-Identifier: Apache-2.0
 *
 * No heap, no mutable globals, no libc but the memset or memcpy that a compiler may put in itself. Every
 * function here is pure but for the arrays it is given, and takes the same number of instructions whatever
 * the data. docs/numerics.md is the arithmetic.
 *
 * A matrix is stored in row groups of four: one uint32_t holds one column of four rows, the lowest
 * byte being the first row. Rows are padded with zeros to whole groups.
 */
#ifndef STEPCELL_H
#define STEPCELL_H

#include <limits.h>
#include <stddef.h>
#include <stdint.h>

#define SC_RUNTIME_VERSION 1
#define SC_NUMERICS_VERSION 1

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "stepcell stores weights for little-endian machines"
#endif
#if CHAR_BIT != 8 || (-1 >> 1) != -1
#error "stepcell needs 8-bit bytes and an arithmetic right shift"
#endif

/* Tables lie in flash. Where flash is not in the data address space, reads go through these. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define SC_FLASH PROGMEM
#define SC_READ8(p) pgm_read_byte(p)
#define SC_READ16(p) pgm_read_word(p)
#define SC_READ32(p) pgm_read_dword(p)
#else
#define SC_FLASH
#define SC_READ8(p) (*(p))
#define SC_READ16(p) (*(p))
#define SC_READ32(p) (*(p))
#endif

/* step calls push, then read; were they inlined, its stack would be the sum of theirs. */
#if defined(__GNUC__)
#define SC_NOINLINE __attribute__((noinline))
#else
#define SC_NOINLINE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Where a kernel stands in a matrix; each call moves it on past the row groups that it has read. */
typedef struct sc_cursor {
    const uint32_t *weights;
    const uint8_t *columns; /* sparse only: for each row group, the number of blocks, then where they are */
} sc_cursor;

/* acc[4 * groups] += W x for the next `groups` row groups. */
typedef void sc_matvec(sc_cursor *at, unsigned groups, unsigned cols, const void *x, int32_t *acc);

sc_matvec sc_matvec_dense_s8;  /* x is int8_t[cols] */
sc_matvec sc_matvec_dense_s16; /* x is int16_t[cols] */
sc_matvec sc_matvec_4x1_s8;    /* blocks of 4 rows and 1 column, at most 256 columns */
sc_matvec sc_matvec_4x1_s16;
sc_matvec sc_matvec_4x2_s8; /* blocks of 4 rows and 2 columns, at most 512 columns, x padded to even */
sc_matvec sc_matvec_4x2_s16;

typedef struct sc_matrix {
    sc_matvec *multiply;
    sc_cursor start;
    uint16_t cols;
} sc_matrix;

/* v -> (v + half) >> shift, half = 2^(shift-1): a rounding shift with ties towards +infinity. */
typedef struct sc_shift {
    int32_t half;
    uint8_t shift;
} sc_shift;

/* Layers. Rows lie in groups of four units, gate by gate; tables have one entry a row:
 * bias starts the input accumulator, multipliers hold recurrent << 16 | input, each at most 2^14. */
typedef struct sc_lstm_layer {
    sc_matrix input, recurrent;
    const int32_t *bias;         /* [units / 4][i o f c][4] */
    const uint32_t *multipliers; /* the same order */
    sc_shift input_shift, recurrent_shift, post_shift;
    uint16_t units;
    uint8_t cell_bits; /* fraction bits of c, 0..15 */
} sc_lstm_layer;

typedef struct sc_gru_layer {
    sc_matrix input, recurrent;
    const int32_t *bias; /* [units / 4][z r n][4]; reset first: [units / 4][r][4], then [units / 4][z n][4] */
    const int32_t *candidate_bias; /* [units / 4][4]: starts n's recurrent accumulator; reset last only */
    const uint32_t *multipliers;   /* in the order of bias */
    sc_shift input_shift, recurrent_shift, post_shift;
    sc_shift candidate_input_shift, candidate_recurrent_shift; /* reset last only */
    uint16_t units;
} sc_gru_layer;

typedef struct sc_rnn_layer {
    sc_matrix input, recurrent;
    const int32_t *bias;         /* [units] */
    const uint32_t *multipliers; /* [units] */
    sc_shift input_shift, recurrent_shift, post_shift;
    uint16_t units;
} sc_rnn_layer;

typedef struct sc_dense_layer {
    sc_matrix matrix;
    const int32_t *bias;         /* [rows] */
    const uint16_t *multipliers; /* [rows], at most 2^14 */
    sc_shift pre_shift, post_shift;
    uint16_t rows;
    int16_t least; /* -32768, or 0 for a relu */
} sc_dense_layer;

/* view is the int8 view of h as it was before the step (sc_view). */
void sc_lstm(const sc_lstm_layer *layer, const void *x, const int8_t *view, int16_t *h, int16_t *c);
void sc_gru(const sc_gru_layer *layer, const void *x, const int8_t *view, int16_t *h);
/* linear_before_reset = 0: the reset gate acts on h before the matrix; gated is scratch, as long as view. */
void sc_gru_reset_first(const sc_gru_layer *layer, const void *x, const int8_t *view, int8_t *gated,
                        int16_t *h);
/* before is the view of h, or a copy of h itself, as the recurrent kernel reads it. */
void sc_rnn_tanh(const sc_rnn_layer *layer, const void *x, const void *before, int16_t *h);
void sc_rnn_relu(const sc_rnn_layer *layer, const void *x, const void *before, int16_t *h);
void sc_dense(const sc_dense_layer *layer, const void *x, int16_t *y);

/* Vectors. `padded` >= n elements (bytes for sc_copy) are written, zeros beyond n. */
void sc_copy(void *to, const void *from, unsigned n, unsigned padded); /* any alignment */
void sc_view(int8_t *view, const int16_t *v, unsigned n, unsigned padded);
void sc_relu(int16_t *y, const int16_t *x, unsigned n);
void sc_sigmoid(int16_t *y, const int16_t *x, unsigned n); /* Q4.11 to Q0.15 */
void sc_tanh(int16_t *y, const int16_t *x, unsigned n);    /* Q4.11 to Q0.15 */
void sc_add(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, int16_t a_multiplier,
            int16_t b_multiplier, sc_shift shift);
void sc_mul(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, int16_t multiplier, sc_shift shift);
void sc_max(int16_t *y, const int16_t *a, const int16_t *b, unsigned n);
void sc_rescale(int16_t *y, const int16_t *x, unsigned n, int16_t multiplier, sc_shift shift);
void sc_take_s8(int8_t *y, const int8_t *x, const uint16_t *indices, unsigned n);
void sc_take_s16(int16_t *y, const int16_t *x, const uint16_t *indices, unsigned n);
void sc_constant(int16_t *y, const uint16_t *values, unsigned n);

/* A running mean: sum and count, both closed after SC_MEAN_STEPS steps. */
#define SC_MEAN_STEPS 32767
void sc_total(int32_t *total, const int16_t *x, unsigned n, const int32_t *count);
void sc_count(int32_t *count);
void sc_mean(int16_t *y, const int32_t *total, unsigned n, const int32_t *count);

/* Folds values into a running checksum (self-tests). */
uint32_t sc_checksum16(uint32_t sum, const int16_t *v, unsigned n);
uint32_t sc_checksum32(uint32_t sum, const int32_t *v, unsigned n);

#ifdef __cplusplus
}
#endif

#endif
