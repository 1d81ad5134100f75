/* GRU with linear_before_reset = 1: from accumulators to the state, four units at a time.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sc_gru_tail.h"
#include "sc_isa.h"
#ifdef SC_HAS_GRU_TAIL
#include "sc_tail_neon.h"

/* The rows of z and r of four units begin at `gates`, those of n at `n_row`. */
static inline void four_units(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                              unsigned gates, unsigned n_row, int16_t *h)
{
    const unsigned sx = layer->input_shift, sh = layer->recurrent_shift;
    const int32x4x2_t ax = vld2q_s32(acc->input + gates), ah = vld2q_s32(acc->recurrent + gates);
    const uint32x4x2_t m = vld2q_u32(multipliers + gates);
    const int16x4_t z = sc_sigmoid4(sc_joint4(ax.val[0], ah.val[0], m.val[0], sx, sh, layer->post));
    const int16x4_t r = sc_sigmoid4(sc_joint4(ax.val[1], ah.val[1], m.val[1], sx, sh, layer->post));
    const int32x4_t nx = sc_shifted4(vld1q_s32(acc->input + n_row), sx);
    const int32x4_t nh = sc_shifted4(vld1q_s32(acc->recurrent + n_row), sh);
    const uint32x4_t nm = vld1q_u32(multipliers + n_row);
    /* |px| <= 2^29: not saturated alone, but with what the reset gate lets through */
    const int32x4_t px = sc_round4(vmulq_s32(nx, sc_input_multipliers4(nm)), layer->candidate_input.shift);
    const int16x4_t ph =
        vqmovn_s32(sc_round4(vmulq_s32(nh, sc_recurrent_multipliers4(nm)), layer->candidate_recurrent.shift));
    const int16x4_t n = sc_tanh4(vqmovn_s32(vaddq_s32(px, sc_mul15x4(r, ph))));
    /* |z * (h - n)| <= 32767 * 65535 < 2^31 - 2^14 */
    const int32x4_t kept = vrshrq_n_s32(vmulq_s32(vmovl_s16(z), vsubl_s16(vld1_s16(h), n)), 15);
    vst1_s16(h, vmovn_s32(vaddw_s16(kept, n)));
}

void sc_gru_tail(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                 int16_t *h)
{
    const unsigned candidates = 2 * sc_next_pass(units, layer->grain);
    if (units % 4 != 0)
        sc_gru_units(layer, acc, multipliers, units, h);
    else
        for (unsigned u = 0; u < units; u += 4)
            four_units(layer, acc, multipliers, 2 * u, candidates + u, h + u);
}
#endif
