/* tiny_lstm: one step of the network. Made by stepcell VERSION; do not edit. */
#include "tiny_lstm.h"
#include "tiny_lstm_weights.h"

static const sc_lstm_layer tiny_lstm_lstm1 = {
    .input = {sc_matvec_dense_s8, {tiny_lstm_lstm1_input, NULL, tiny_lstm_lstm1_input_start, 3, 4}},
    .recurrent = {sc_matvec_dense_s8, {tiny_lstm_lstm1_recurrent, NULL, tiny_lstm_lstm1_recurrent_start, 6, 0}},
    .multipliers = tiny_lstm_lstm1_multipliers,
    .post = {1024, 11},
    .units = 6,
    .grain = 1,
    .input_shift = 1,
    .recurrent_shift = 2,
    .cell_bits = 12,
};

static const sc_lstm_layer tiny_lstm_lstm2 = {
    .input = {sc_matvec_dense_s8, {tiny_lstm_lstm2_input, NULL, tiny_lstm_lstm2_input_start, 6, 4}},
    .recurrent = {sc_matvec_dense_s8, {tiny_lstm_lstm2_recurrent, NULL, tiny_lstm_lstm2_recurrent_start, 6, 0}},
    .multipliers = tiny_lstm_lstm2_multipliers,
    .post = {8192, 14},
    .units = 6,
    .grain = 1,
    .input_shift = 2,
    .recurrent_shift = 1,
    .cell_bits = 14,
};

static const sc_dense_layer tiny_lstm_dense1 = {
    .matrix = {sc_matvec_dense_s16, {tiny_lstm_dense1_weights, NULL, tiny_lstm_dense1_weights_start, 6, 4}},
    .multipliers = tiny_lstm_dense1_multipliers,
    .post = {16384, 15},
    .rows = 4,
    .grain = 4,
    .pre_shift = 10,
    .saturating_shift = 0,
    .least = -32768,
};

TINY_LSTM_CODE_ATTR void tiny_lstm_init(tiny_lstm_state *s)
{
    for (unsigned i = 0; i < 6; ++i)
        s->h3[i] = 0;
    for (unsigned i = 0; i < 6; ++i)
        s->c4[i] = 0;
    for (unsigned i = 0; i < 6; ++i)
        s->h7[i] = 0;
    for (unsigned i = 0; i < 6; ++i)
        s->c8[i] = 0;
}

TINY_LSTM_CODE_ATTR void tiny_lstm_step(tiny_lstm_state *s, const tiny_lstm_x_t x[TINY_LSTM_X], tiny_lstm_y_t y[TINY_LSTM_Y])
{
    SC_ALIGNED int8_t h7_view[8]; /* frame, then h7_view */
    SC_ALIGNED int8_t h3_view[8]; /* h3_view, then next3_view */
    SC_ALIGNED int16_t next7_padded[8]; /* next7_padded, then sigmoid11 */
    SC_ALIGNED int16_t dense10[4];

    /* x may lie anywhere */
    sc_copy(h7_view, x, 3, 4);
    sc_view_s8(h3_view, s->h3, 6, 8);

    /* lstm1: i, o, f, g = W x + R h + b; c = f c + i g; h = o tanh(c), 3 -> 6 (W dense, R dense) */
    sc_lstm(&tiny_lstm_lstm1, h7_view, h3_view, s->h3, s->c4);
    sc_view_s8(h3_view, s->h3, 6, 8);
    sc_view_s8(h7_view, s->h7, 6, 8);

    /* lstm2: i, o, f, g = W x + R h + b; c = f c + i g; h = o tanh(c), 6 -> 6 (W dense, R dense) */
    sc_lstm(&tiny_lstm_lstm2, h3_view, h7_view, s->h7, s->c8);
    sc_copy(next7_padded, s->h7, 12, 16);

    /* dense1: y = W x + b, 6 -> 4 (dense) */
    sc_dense(&tiny_lstm_dense1, next7_padded, dense10);

    /* sigmoid1: sigmoid11 */
    sc_sigmoid(next7_padded, dense10, 4);
    sc_copy(y, next7_padded, 8, 8);
}
