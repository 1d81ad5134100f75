/* stepcell runtime: integer recurrent layers with dense and block-sparse weights.
 * SPDX-License-Identifier: Apache-2.0
 *
 * No heap, no mutable globals, no libc but the memset or memcpy that a compiler may put in itself. Every
 * function here is pure but for the arrays it is given, and takes the same number of instructions whatever
 * the data, but those of delta (sc_hold_*, sc_*_delta) and of attention. docs/numerics.md is the arithmetic.
 *
 * A matrix is stored in row groups, in the order in which its kernel reads it; rows are padded with zeros to
 * whole groups. A kernel is portable C, and may be replaced by one of the same name and storage for a core's
 * own instructions: sc_isa.h of the folder for the core says which are.
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

/* Kernels read vectors by words, some by instructions that fault where a word is not aligned. */
#if defined(__GNUC__)
#define SC_ALIGNED __attribute__((aligned(4)))
#else
#define SC_ALIGNED
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

/* Where a kernel stands in a matrix; each call moves it on past the rows that it has computed. */
typedef struct sc_cursor {
    const uint32_t *weights;
    const uint8_t *columns; /* sparse only: for each row group and segment, a count of blocks, then where */
    const int32_t *start;   /* what accumulators start with: the bias, in the kernel's form */
    uint16_t cols;          /* as the kernel counts them: padded to what it reads at once */
    uint16_t stride;        /* by how much `start` moves on at each row group: its rows, or 0 */
} sc_cursor;

/* acc[rows] = start + W x for the next `rows` rows, a whole number of the kernel's row groups. How weights
 * and starts are stored and what type the elements of x have is the kernel's own (docs/kernels.md). */
typedef void sc_matvec(sc_cursor *at, const void *x, int32_t *acc, unsigned rows);

/* A row group of a sparse matrix lists its blocks for each SC_SEGMENT block positions apart, so that a byte
 * can hold every count and position. */
#define SC_SEGMENT 255u

/* One word holds one column of four rows, the lowest byte being the first row. */
sc_matvec sc_matvec_dense_s8;  /* x is int8_t[cols] */
sc_matvec sc_matvec_dense_s16; /* x is int16_t[cols] */
sc_matvec sc_matvec_4x1_s8;    /* blocks of 4 rows and 1 column */
sc_matvec sc_matvec_4x1_s16;
sc_matvec sc_matvec_4x2_s8; /* blocks of 4 rows and 2 columns, x padded to even */
sc_matvec sc_matvec_4x2_s16;

/* The same, and x is int32_t[cols] of int16 values, padded to four for the dense ones. */
sc_matvec sc_matvec_dense_s32;
sc_matvec sc_matvec_4x1_s32;
sc_matvec sc_matvec_offset_dense; /* bytes are unsigned, 128 more than the weight */
sc_matvec sc_matvec_offset_4x1;

/* Tiles: one word holds four columns of one row; for processors with vectors of 16 or 32 bytes. */
sc_matvec sc_matvec_tiles_s8; /* row groups of 8 rows in tiles of 4 columns */
sc_matvec sc_matvec_tiles_s16;
sc_matvec sc_matvec_tiles_4x4_s8; /* blocks of 4 rows and 4 columns */
sc_matvec sc_matvec_tiles_4x4_s16;

/* Row groups of 8 rows. Two words hold one column, the lowest byte being the first row. */
sc_matvec sc_matvec_rows8_dense;     /* x is int8_t[cols] */
sc_matvec sc_matvec_rows8_dense_s16; /* x is int16_t[cols] */
sc_matvec sc_matvec_8x1;             /* blocks of 8 rows and 1 column, x is int8_t[cols] */
sc_matvec sc_matvec_8x1_s16;

/* Row groups of 4 rows in pairs: a word is (w1 << 16) + w0 of one column, x is int32_t[cols] of int8 values,
 * padded to even. */
sc_matvec sc_matvec_swar_dense; /* [column pair][pair of rows][2 words] */
sc_matvec sc_matvec_swar_4x2;   /* blocks of 4 rows and 2 columns */

/* Row groups of 8 rows in pairs: a word is (w1 << 16) + w0 of one column; x is int8_t[cols], padded. */
sc_matvec sc_matvec_swar8_dense; /* [column pair][pair of rows][2 words] */
sc_matvec sc_matvec_swar8_8x2;   /* blocks of 8 rows and 2 columns */

/* Tiles of a vector register: 16 columns of int8, or 8 of int16; x padded to 16. */
sc_matvec sc_matvec_mve_dense;     /* tiles of 8 rows, x is int8_t[cols] */
sc_matvec sc_matvec_mve_dense_s16; /* tiles of 8 rows, x is int16_t[cols] */
sc_matvec sc_matvec_mve_4x16;      /* blocks of 4 rows, x is int8_t[cols] */

/* Two rows share a halfword, 256 times the one and the other; x is int16_t[cols] of int8 values. */
sc_matvec sc_matvec_hilo_dense; /* words of two columns of rows 0 1 and rows 2 3, x padded to even */
sc_matvec sc_matvec_hilo_4x1;   /* the same of any two columns of a row group, counted and listed by pairs */
sc_matvec sc_matvec_hilo_4x2;   /* blocks of 4 rows and 2 columns */

/* A halfword is four rows of a column, |weights| <= 7; x is int16_t[cols] of int8 values, padded to fours. */
sc_matvec sc_matvec_nibble_dense;

/* A word is four columns of one row, in the order 0 2 1 3; x is int16_t[cols], padded to fours. */
sc_matvec sc_matvec_quad_dense_s16;

typedef struct sc_matrix {
    sc_matvec *multiply;
    sc_cursor at;
} sc_matrix;

/* v -> (v + half) >> shift, half = 2^(shift-1): a rounding shift with ties towards +infinity. */
typedef struct sc_shift {
    int32_t half;
    uint8_t shift;
} sc_shift;

/* Layers go through their rows in passes of a few units (a multiple of `grain`, which the row groups of both
 * matrices divide), so that accumulators never need more than a pass. The halves that round the shift of an
 * accumulator are part of its start. Multipliers hold recurrent << 16 | input, each at most 2^14, in the
 * order of the rows. */

typedef struct sc_lstm_layer {
    sc_matrix input, recurrent;  /* rows of a pass: [units][i o f c] */
    const uint32_t *multipliers; /* [units][4] */
    sc_shift post;
    uint16_t units;
    uint8_t grain, input_shift, recurrent_shift;
    uint8_t cell_bits; /* fraction bits of c, 0..15 */
} sc_lstm_layer;

typedef struct sc_gru_layer {
    sc_matrix input, recurrent; /* rows of a pass: [units][z r], then [units] of n; reset first: [units] of z,
                                   then [units] of n, and the r rows are an sc_rnn_layer of their own */
    const uint32_t *multipliers; /* in the order of the rows */
    sc_shift post;
    sc_shift candidate_input, candidate_recurrent; /* reset last only */
    uint16_t units;
    uint8_t grain, input_shift, recurrent_shift;
} sc_gru_layer;

typedef struct sc_rnn_layer {
    sc_matrix input, recurrent;
    const uint32_t *multipliers; /* [units] */
    sc_shift post;
    uint16_t units;
    uint8_t grain, input_shift, recurrent_shift;
} sc_rnn_layer;

typedef struct sc_dense_layer {
    sc_matrix matrix;
    const uint16_t *multipliers; /* [rows], at most 2^14 */
    sc_shift post;
    uint16_t rows;
    uint8_t grain, pre_shift;
    int16_t least; /* -32768, or 0 for a relu */
    uint8_t
        saturating_shift; /* sums are shifted so, and saturated to int16, before the tail; 0: they are not */
} sc_dense_layer;

/* A window that slides over rows and columns of vectors, row by row; one axis is the columns of one row. */
typedef struct sc_window {
    uint16_t rows, columns;
    uint16_t positions_down, positions_across;
    uint16_t kernel_down, kernel_across;
    uint16_t stride_down, stride_across;
    uint16_t dilation_down, dilation_across;
    uint16_t before_down, before_across; /* zeros in front of the first row and the first column */
    uint16_t tap;                        /* size of a vector: bytes for sc_conv, else elements */
    uint16_t padded;                     /* bytes of a window as the kernel reads it */
    uint8_t in_place;                    /* windows inside the input are read where they are */
    uint8_t words;                       /* every offset and size is a whole word */
} sc_window;

typedef struct sc_depthwise_layer {
    const int8_t *weights; /* [taps][channels] */
    const int32_t *start;  /* [channels]: the bias, with the half that rounds pre_shift */
    const uint16_t *multipliers;
    sc_shift post;
    uint16_t channels;
    uint8_t pre_shift;
    int16_t least; /* -32768, or 0 for a relu */
} sc_depthwise_layer;

/* view is the int8 view of h as it was before the step, as the recurrent kernel reads it (sc_view_*). */
void sc_lstm(const sc_lstm_layer *layer, const void *x, const void *view, int16_t *h, int16_t *c);
void sc_gru(const sc_gru_layer *layer, const void *x, const void *view, int16_t *h);
/* linear_before_reset = 0: the reset gate acts on h before the matrix, so the layer is two calls:
 * gated = r * h, whose view the second one reads. */
void sc_gru_reset(const sc_rnn_layer *layer, const void *x, const void *view, const int16_t *h,
                  int16_t *gated);
void sc_gru_reset_first(const sc_gru_layer *layer, const void *x, const void *view, const void *gated_view,
                        int16_t *h);
/* before is the view of h, or a copy of h itself, as the recurrent kernel reads it. */
void sc_rnn_tanh(const sc_rnn_layer *layer, const void *x, const void *before, int16_t *h);
void sc_rnn_relu(const sc_rnn_layer *layer, const void *x, const void *before, int16_t *h);
void sc_dense(const sc_dense_layer *layer, const void *x, int16_t *y);
/* y is [positions][rows of the layer]; scratch holds one window. */
void sc_conv(const sc_dense_layer *layer, const sc_window *window, const void *x, int16_t *y, void *scratch);
void sc_depthwise_s8(const sc_depthwise_layer *layer, const sc_window *window, const int8_t *x, int16_t *y);
void sc_depthwise_s16(const sc_depthwise_layer *layer, const sc_window *window, const int16_t *x, int16_t *y);

/* Delta: layers of held values keep the sums of all their rows, and add the columns that changed. */
typedef struct sc_change {
    uint16_t at; /* where the column lies in a row group, in bytes: 8 times its number */
    int16_t by;  /* -255..255 */
} sc_change;

typedef struct sc_change_pair {
    uint32_t at;   /* where the pair of columns lies in a row group, in bytes: 16 times its number */
    int16_t by[2]; /* -255..255, not both 0 */
} sc_change_pair;

/* held[i] becomes v[i], or its view, where that is further than `threshold` from it, and that is listed:
 * columns in changes[n + 1], or pairs in changes[(n + 1) / 2 + 2]. One change by 0 ends a list, or two pairs.
 */
void sc_hold_s8(int8_t *held, const int8_t *v, unsigned n, unsigned threshold, sc_change *changes);
void sc_hold_s16(int8_t *held, const int16_t *v, unsigned n, unsigned threshold, sc_change *changes);
void sc_hold_pairs_s8(int8_t *held, const int8_t *v, unsigned n, unsigned threshold, sc_change_pair *changes);
void sc_hold_pairs_s16(int8_t *held, const int16_t *v, unsigned n, unsigned threshold,
                       sc_change_pair *changes);

/* acc[rows] += W times the changes that x lists, row groups of 8 rows, nothing read of `start`. */
sc_matvec sc_delta_rows8; /* stored as for sc_matvec_rows8_dense; x lists sc_change */
sc_matvec sc_delta_hilo;  /* [column pair][pair of rows], words as of sc_matvec_hilo_dense; sc_change_pair */

/* x and view list changes, as the kernels read them. The sums of an LSTM are those of each pass, input and
 * recurrent, with room for its most units; those of the others are all of the input, then all of the
 * recurrent matrix, of a multiple of 8 units. */
void sc_lstm_delta(const sc_lstm_layer *layer, const void *x, const void *view, int32_t *sums, int16_t *h,
                   int16_t *c);
void sc_gru_delta(const sc_gru_layer *layer, const void *x, const void *view, int32_t *sums, int16_t *h);
void sc_rnn_tanh_delta(const sc_rnn_layer *layer, const void *x, const void *view, int32_t *sums, int16_t *h);

/* Vectors. `padded` >= n elements (bytes for sc_copy) are written, zeros beyond n. */
void sc_copy(void *to, const void *from, unsigned n, unsigned padded); /* any alignment */
typedef void sc_view(void *view, const int16_t *v, unsigned n, unsigned padded);
sc_view sc_view_s8, sc_view_s16, sc_view_s32; /* stored as int8_t, int16_t, int32_t */
void sc_widen_s8_s16(int16_t *to, const int8_t *from, unsigned n, unsigned padded);
void sc_widen_s8_s32(int32_t *to, const int8_t *from, unsigned n, unsigned padded);
void sc_widen_s16_s32(int32_t *to, const int16_t *from, unsigned n, unsigned padded);
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
/* The index 0xffff gives zero. */
void sc_take_or_zero_s8(int8_t *y, const int8_t *x, const uint16_t *indices, unsigned n);
void sc_take_or_zero_s16(int16_t *y, const int16_t *x, const uint16_t *indices, unsigned n);
void sc_constant(int16_t *y, const uint16_t *values, unsigned n);

/* Functions of single elements (docs/numerics.md, 5). A table has 2^(16 - shift) + 1 entries, shift >= 6. */
void sc_lookup(int16_t *y, const int16_t *x, unsigned n, const int16_t *table, unsigned shift);
/* Tables of 353 entries, 32 an octave; f(max(0, x)), f(|x|), and f(|x|) with the sign of x. */
void sc_octaves(int16_t *y, const int16_t *x, unsigned n, const int16_t *table);
void sc_octaves_even(int16_t *y, const int16_t *x, unsigned n, const int16_t *table);
void sc_octaves_odd(int16_t *y, const int16_t *x, unsigned n, const int16_t *table);
void sc_linear(int16_t *y, const int16_t *x, unsigned n, int16_t multiplier, int32_t offset, sc_shift shift,
               int16_t least, int16_t greatest);
void sc_leaky(int16_t *y, const int16_t *x, unsigned n, int16_t positive, int16_t negative, sc_shift shift);
void sc_abs(int16_t *y, const int16_t *x, unsigned n);
void sc_min(int16_t *y, const int16_t *a, const int16_t *b, unsigned n);
void sc_div(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, uint16_t multiplier, sc_shift shift);
void sc_hypot(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, int16_t multiplier, sc_shift shift);
/* Every element inner times, and all of that outer times. */
void sc_repeat(int16_t *y, const int16_t *x, unsigned n, unsigned outer, unsigned inner);

/* Rows of n elements each. */
void sc_reduce_sum(int16_t *y, const int16_t *x, unsigned rows, unsigned n, sc_shift before,
                   int16_t multiplier, sc_shift shift);
void sc_reduce_norm(int16_t *y, const int16_t *x, unsigned rows, unsigned n, sc_shift before,
                    int16_t multiplier, sc_shift shift);
void sc_reduce_max(int16_t *y, const int16_t *x, unsigned rows, unsigned n);
void sc_reduce_min(int16_t *y, const int16_t *x, unsigned rows, unsigned n);
void sc_argmax(int16_t *y, const int16_t *x, unsigned rows, unsigned n);
void sc_softmax(int16_t *y, const int16_t *x, unsigned rows, unsigned n, int16_t multiplier, sc_shift shift,
                unsigned fraction);

typedef struct sc_normalize_layer {
    const int16_t *gain; /* [n] */
    const int32_t *bias; /* [n] */
    sc_shift square, post;
    uint16_t n;       /* elements of a row, at most 2^14 */
    uint16_t epsilon; /* times 2^epsilon_exponent, in units of the sum of squares */
    int8_t epsilon_exponent, least_shift;
    uint8_t result_shift;
} sc_normalize_layer;

void sc_normalize(const sc_normalize_layer *layer, int16_t *y, const int16_t *x, unsigned rows);

/* Rows of a table, one for each token; tokens out of the table take its nearest row. */
void sc_embed_s8(int8_t *y, const int16_t *tokens, unsigned n, const int8_t *table, uint16_t rows,
                 uint16_t width);
void sc_embed_s16(int16_t *y, const int16_t *tokens, unsigned n, const int16_t *table, uint16_t rows,
                  uint16_t width);

/* Attention over memories of `rows` rows, which `count` says how many there are of. The time that these take
 * grows with them. What is appended to a full memory is lost. */
void sc_append_s8(int8_t *memory, const int32_t *count, const int16_t *x, unsigned rows, unsigned width);
void sc_append_s16(int16_t *memory, const int32_t *count, const int16_t *x, unsigned rows, unsigned width);
/* scores[rows]: the products of the query with the rows, at most 2^14 elements each. */
void sc_scores_s8(int32_t *scores, const int8_t *query, const int8_t *keys, unsigned rows, unsigned width,
                  const int32_t *count);
void sc_scores_s16(int32_t *scores, const int16_t *query, const int16_t *keys, unsigned rows, unsigned width,
                   const int32_t *count, sc_shift product);
/* Of scores make the weights of a softmax, whose sum has 14 to 16 bits. */
void sc_weights(int32_t *scores, unsigned rows, const int32_t *count, sc_shift before, int16_t multiplier,
                sc_shift shift, unsigned fraction);
/* y[width]: the mean of the rows, so weighted. */
void sc_mix_s8(int16_t *y, const int32_t *weights, const int8_t *values, unsigned rows, unsigned width,
               const int32_t *count, int16_t multiplier, sc_shift shift);
void sc_mix_s16(int16_t *y, const int32_t *weights, const int16_t *values, unsigned rows, unsigned width,
                const int32_t *count, int16_t multiplier, sc_shift shift);

/* Already quantized TensorFlow Lite files, with their own scales and zero points (docs/numerics.md). A factor
 * is two words: a multiplier of 31 bits; then for a dense layer the shift behind it, else left | right << 8.
 */
typedef struct sc_tflite_lstm_layer {
    sc_matrix input, recurrent; /* rows of a pass: [units][i o f c]; starts hold what zero points add */
    const uint32_t *factors;    /* of i o f c, input matrix then recurrent one, and of h: [9][2] */
    int32_t cell_limit;         /* |c| is at most this, 32768 for no limit */
    uint16_t units;
    uint8_t grain, cell_bits; /* fraction bits of c, 9..15 */
    int8_t hidden_zero;
} sc_tflite_lstm_layer;

typedef struct sc_tflite_dense_layer {
    sc_matrix matrix;
    const uint32_t *factors; /* [rows][2] */
    uint16_t rows;
    uint8_t grain;
    int8_t zero, least;
} sc_tflite_dense_layer;

/* before is h as it was, as the recurrent kernel reads it. */
void sc_tflite_lstm(const sc_tflite_lstm_layer *layer, const void *x, const void *before, int8_t *h,
                    int16_t *c);
void sc_tflite_dense(const sc_tflite_dense_layer *layer, const void *x, int8_t *y);
void sc_tflite_table(int8_t *y, const int8_t *x, unsigned n, const uint8_t *table); /* [256], from -128 on */
/* Q3.12 to Q0.15, and int16 with 0..6 integer bits to Q0.15 */
int32_t sc_tflite_sigmoid(int32_t p);
int32_t sc_tflite_tanh(int32_t p, unsigned integer_bits);

/* A running mean: sum and count, both closed after SC_MEAN_STEPS steps. */
#define SC_MEAN_STEPS 32767
void sc_total(int32_t *total, const int16_t *x, unsigned n, const int32_t *count);
void sc_count(int32_t *count);
void sc_mean(int16_t *y, const int32_t *total, unsigned n, const int32_t *count);

/* Folds values into a running checksum (self-tests). */
uint32_t sc_checksum8(uint32_t sum, const int8_t *v, unsigned n);
uint32_t sc_checksum16(uint32_t sum, const int16_t *v, unsigned n);
uint32_t sc_checksum32(uint32_t sum, const int32_t *v, unsigned n);

#ifdef __cplusplus
}
#endif

#endif
