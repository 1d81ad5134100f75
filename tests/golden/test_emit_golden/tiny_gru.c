/* tiny_gru: one step of the network. Made by stepcell VERSION; do not edit. */
#include "tiny_gru.h"
#include "tiny_gru_weights.h"

static const sc_gru_layer tiny_gru_gru1 = {
    .input = {sc_matvec_dense_s8, {tiny_gru_gru1_input, NULL, tiny_gru_gru1_input_start, 3, 4}},
    .recurrent = {sc_matvec_dense_s8, {tiny_gru_gru1_recurrent, NULL, tiny_gru_gru1_recurrent_start, 5, 4}},
    .multipliers = tiny_gru_gru1_multipliers,
    .post = {2048, 12},
    .candidate_input = {2048, 12},
    .candidate_recurrent = {16384, 15},
    .units = 5,
    .grain = 4,
    .input_shift = 1,
    .recurrent_shift = 2,
};

static const sc_dense_layer tiny_gru_dense1 = {
    .matrix = {sc_matvec_dense_s16, {tiny_gru_dense1_weights, NULL, tiny_gru_dense1_weights_start, 5, 4}},
    .multipliers = tiny_gru_dense1_multipliers,
    .post = {2048, 12},
    .rows = 2,
    .grain = 4,
    .pre_shift = 9,
    .saturating_shift = 0,
    .least = -32768,
};

static const sc_dense_layer tiny_gru_dense2 = {
    .matrix = {sc_matvec_dense_s16, {tiny_gru_dense2_weights, NULL, tiny_gru_dense2_weights_start, 2, 4}},
    .multipliers = tiny_gru_dense2_multipliers,
    .post = {1024, 11},
    .rows = 2,
    .grain = 4,
    .pre_shift = 8,
    .saturating_shift = 0,
    .least = -32768,
};

TINY_GRU_CODE_ATTR void tiny_gru_init(tiny_gru_state *s)
{
    for (unsigned i = 0; i < 5; ++i)
        s->h3[i] = 0;
}

TINY_GRU_CODE_ATTR SC_NOINLINE void tiny_gru_push(tiny_gru_state *s, const tiny_gru_x_t x[TINY_GRU_X])
{
    SC_ALIGNED int8_t frame[4];
    SC_ALIGNED int8_t h3_view[8];

    /* x may lie anywhere */
    sc_copy(frame, x, 3, 4);
    sc_view_s8(h3_view, s->h3, 5, 8);

    /* gru1: z, r, n = W x + R h + b, n with r (R h + b); h = n + z (h - n), 3 -> 5 (W dense, R dense) */
    sc_gru(&tiny_gru_gru1, frame, h3_view, s->h3);
}

TINY_GRU_CODE_ATTR SC_NOINLINE void tiny_gru_read(const tiny_gru_state *s, tiny_gru_y_t y[TINY_GRU_Y])
{
    SC_ALIGNED int16_t h3_padded[8]; /* h3_padded, then dense7 */
    SC_ALIGNED int16_t dense5[4];
    sc_copy(h3_padded, s->h3, 10, 16);

    /* dense1: y = W x + b, 5 -> 2 (dense) */
    sc_dense(&tiny_gru_dense1, h3_padded, dense5);

    /* dense2: y = W x + b, 2 -> 2 (dense) */
    sc_dense(&tiny_gru_dense2, dense5, h3_padded);
    sc_copy(y, h3_padded, 4, 4);
}

TINY_GRU_CODE_ATTR void tiny_gru_step(tiny_gru_state *s, const tiny_gru_x_t x[TINY_GRU_X], tiny_gru_y_t y[TINY_GRU_Y])
{
    tiny_gru_push(s, x);
    tiny_gru_read(s, y);
}
