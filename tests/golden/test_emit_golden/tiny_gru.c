/* tiny_gru: one step of the network. Made by stepcell VERSION; do not edit. */
#include "tiny_gru.h"
#include "tiny_gru_weights.h"

static const sc_gru_layer tiny_gru_gru1 = {
    .input = {sc_matvec_dense_s8, {tiny_gru_gru1_input, NULL}, 3},
    .recurrent = {sc_matvec_dense_s8, {tiny_gru_gru1_recurrent, NULL}, 5},
    .bias = tiny_gru_gru1_bias,
    .candidate_bias = tiny_gru_gru1_candidate_bias,
    .multipliers = tiny_gru_gru1_multipliers,
    .input_shift = {1, 1},
    .recurrent_shift = {2, 2},
    .post_shift = {2048, 12},
    .candidate_input_shift = {2048, 12},
    .candidate_recurrent_shift = {16384, 15},
    .units = 5,
};

static const sc_dense_layer tiny_gru_dense1 = {
    .matrix = {sc_matvec_dense_s16, {tiny_gru_dense1_matrix, NULL}, 5},
    .bias = tiny_gru_dense1_bias,
    .multipliers = tiny_gru_dense1_multipliers,
    .pre_shift = {256, 9},
    .post_shift = {2048, 12},
    .rows = 2,
    .least = -32768,
};

static const sc_dense_layer tiny_gru_dense2 = {
    .matrix = {sc_matvec_dense_s16, {tiny_gru_dense2_matrix, NULL}, 2},
    .bias = tiny_gru_dense2_bias,
    .multipliers = tiny_gru_dense2_multipliers,
    .pre_shift = {128, 8},
    .post_shift = {1024, 11},
    .rows = 2,
    .least = -32768,
};

TINY_GRU_CODE_ATTR void tiny_gru_init(tiny_gru_state *s)
{
    for (unsigned i = 0; i < 5; ++i)
        s->h3[i] = 0;
}

TINY_GRU_CODE_ATTR SC_NOINLINE void tiny_gru_push(tiny_gru_state *s, const tiny_gru_x_t x[TINY_GRU_X])
{
    int8_t frame[4];
    int8_t h3_view[8];

    /* x may lie anywhere, and is free once it is copied */
    sc_copy(frame, x, 3, 4);
    sc_view(h3_view, s->h3, 5, 8);

    /* gru1: z, r, n = W x + R h + b, n with r (R h + b); h = n + z (h - n), 3 -> 5 (W dense, R dense) */
    sc_gru(&tiny_gru_gru1, frame, h3_view, s->h3);
}

TINY_GRU_CODE_ATTR SC_NOINLINE void tiny_gru_read(const tiny_gru_state *s, tiny_gru_y_t y[TINY_GRU_Y])
{
    int16_t dense5[4];
    int16_t dense7[4];

    /* dense1: y = W x + b, 5 -> 2 (dense) */
    sc_dense(&tiny_gru_dense1, s->h3, dense5);

    /* dense2: y = W x + b, 2 -> 2 (dense) */
    sc_dense(&tiny_gru_dense2, dense5, dense7);
    sc_copy(y, dense7, 4, 4);
}

TINY_GRU_CODE_ATTR void tiny_gru_step(tiny_gru_state *s, const tiny_gru_x_t x[TINY_GRU_X], tiny_gru_y_t y[TINY_GRU_Y])
{
    tiny_gru_push(s, x);
    tiny_gru_read(s, y);
}
