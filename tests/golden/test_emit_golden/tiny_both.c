/* tiny_both: the network. Made by stepcell VERSION; do not edit. */
#include "tiny_both.h"
#include "tiny_both_weights.h"

static const sc_gru_layer tiny_both_gru1 = {
    .input = {sc_matvec_dense_s8, {tiny_both_gru1_input, NULL, tiny_both_gru1_input_start, 3, 4}},
    .recurrent = {sc_matvec_dense_s8, {tiny_both_gru1_recurrent, NULL, tiny_both_gru1_recurrent_start, 4, 4}},
    .multipliers = tiny_both_gru1_multipliers,
    .post = {4096, 13},
    .candidate_input = {8192, 14},
    .candidate_recurrent = {32768, 16},
    .units = 4,
    .grain = 4,
    .input_shift = 1,
    .recurrent_shift = 1,
};

static const sc_gru_layer tiny_both_gru2 = {
    .input = {sc_matvec_dense_s8, {tiny_both_gru2_input, NULL, tiny_both_gru2_input_start, 3, 4}},
    .recurrent = {sc_matvec_dense_s8, {tiny_both_gru2_recurrent, NULL, tiny_both_gru2_recurrent_start, 4, 4}},
    .multipliers = tiny_both_gru2_multipliers,
    .post = {4096, 13},
    .candidate_input = {4096, 13},
    .candidate_recurrent = {32768, 16},
    .units = 4,
    .grain = 4,
    .input_shift = 1,
    .recurrent_shift = 1,
};

static const sc_dense_layer tiny_both_dense1 = {
    .matrix = {sc_matvec_dense_s16, {tiny_both_dense1_weights, NULL, tiny_both_dense1_weights_start, 8, 4}},
    .multipliers = tiny_both_dense1_multipliers,
    .post = {2048, 12},
    .rows = 2,
    .grain = 4,
    .pre_shift = 0,
    .saturating_shift = 9,
    .least = -32768,
};

TINY_BOTH_CODE_ATTR void tiny_both_init(tiny_both_state *s)
{
    for (unsigned i = 0; i < 4; ++i)
        s->forward_h[i] = 0;
    for (unsigned i = 0; i < 4; ++i)
        s->backward_h[i] = 0;
}

static SC_NOINLINE TINY_BOTH_CODE_ATTR void tiny_both_stage_forward(tiny_both_state *s, const int8_t *x, int16_t *forward_next)
{
    SC_ALIGNED int8_t frame[4];
    SC_ALIGNED int8_t forward_h_view[4];

    /* x may lie anywhere */
    sc_copy(frame, x, 3, 4);
    sc_view_s8(forward_h_view, s->forward_h, 4, 4);

    /* gru1: z, r, n = W x + R h + b, n with r (R h + b); h = n + z (h - n), 3 -> 4 (W dense, R dense) */
    sc_gru(&tiny_both_gru1, frame, forward_h_view, s->forward_h);
    sc_copy(forward_next, s->forward_h, 8, 8);
}

static SC_NOINLINE TINY_BOTH_CODE_ATTR void tiny_both_stage_backward(tiny_both_state *s, const int8_t *x, int16_t *backward_next)
{
    SC_ALIGNED int8_t frame[4];
    SC_ALIGNED int8_t backward_h_view[4];

    /* x may lie anywhere */
    sc_copy(frame, x, 3, 4);
    sc_view_s8(backward_h_view, s->backward_h, 4, 4);

    /* gru2: z, r, n = W x + R h + b, n with r (R h + b); h = n + z (h - n), 3 -> 4 (W dense, R dense) */
    sc_gru(&tiny_both_gru2, frame, backward_h_view, s->backward_h);
    sc_copy(backward_next, s->backward_h, 8, 8);
}

static SC_NOINLINE TINY_BOTH_CODE_ATTR void tiny_both_stage_head(tiny_both_state *s, const int16_t *forward_next, const int16_t *backward_next, int16_t *y)
{
    SC_ALIGNED int16_t joined[8];
    SC_ALIGNED int16_t logits[4];
    (void)s;

    /* concat1: joined */
    sc_copy(joined, forward_next, 8, 8);
    sc_copy(joined + 4, backward_next, 8, 8);

    /* dense1: y = W x + b, 8 -> 2 (dense) */
    sc_dense(&tiny_both_dense1, joined, logits);
    sc_copy(y, logits, 4, 4);
}

TINY_BOTH_CODE_ATTR void tiny_both_run(tiny_both_state *s, const tiny_both_x_t *x, uint16_t steps, tiny_both_y_t *y)
{
    if (steps > TINY_BOTH_MAX_STEPS)
        steps = TINY_BOTH_MAX_STEPS;
    for (uint16_t t = 0; t < steps; ++t)
        tiny_both_stage_forward(s, x + (size_t)t * 3, s->forward_next + (size_t)t * 4);
    for (uint16_t t = steps; t-- > 0;)
        tiny_both_stage_backward(s, x + (size_t)t * 3, s->backward_next + (size_t)t * 4);
    for (uint16_t t = 0; t < steps; ++t)
        tiny_both_stage_head(s, s->forward_next + (size_t)t * 4, s->backward_next + (size_t)t * 4, y + (size_t)t * 2);
}
