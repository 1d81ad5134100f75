/* LSTM: from accumulators to the state, four units at a time. SPDX-License-Identifier: Apache-2.0 */
#include "sc_lstm_tail.h"
#include "sc_isa.h"
#ifdef SC_HAS_LSTM_TAIL
#include "sc_tail_neon.h"

static inline void four_units(const sc_lstm_layer *layer, const int32_t *input, const int32_t *recurrent,
                              const uint32_t *multipliers, int16_t *h, int16_t *c)
{
    const unsigned sx = layer->input_shift, sh = layer->recurrent_shift;
    const int32x4x4_t ax = vld4q_s32(input), ah = vld4q_s32(recurrent);
    const uint32x4x4_t m = vld4q_u32(multipliers);
    const int16x4_t i = sc_sigmoid4(sc_joint4(ax.val[0], ah.val[0], m.val[0], sx, sh, layer->post));
    const int16x4_t o = sc_sigmoid4(sc_joint4(ax.val[1], ah.val[1], m.val[1], sx, sh, layer->post));
    const int16x4_t f = sc_sigmoid4(sc_joint4(ax.val[2], ah.val[2], m.val[2], sx, sh, layer->post));
    const int16x4_t g = sc_tanh4(sc_joint4(ax.val[3], ah.val[3], m.val[3], sx, sh, layer->post));
    const int32x4_t fresh = sc_round4(vmull_s16(i, g), 15u - layer->cell_bits);
    const int16x4_t next = vqrshrn_n_s32(vmlal_s16(fresh, f, vld1_s16(c)), 15);
    /* c' as a table argument, Q4.11: SQRSHL saturates to the left, and rounds to the right */
    const int16x4_t argument = vqrshl_s16(next, vdup_n_s16((int16_t)(11 - layer->cell_bits)));
    vst1_s16(c, next);
    vst1_s16(h, vmovn_s32(sc_mul15x4(o, sc_tanh4(argument))));
}

void sc_lstm_tail(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                  int16_t *h, int16_t *c)
{
    if (units % 4 != 0)
        sc_lstm_units(layer, acc, multipliers, units, h, c);
    else
        for (unsigned u = 0; u < units; u += 4)
            four_units(layer, acc->input + 4 * u, acc->recurrent + 4 * u, multipliers + 4 * u, h + u, c + u);
}
#endif
