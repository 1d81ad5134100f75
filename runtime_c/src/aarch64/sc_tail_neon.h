/* The scalar arithmetic of sc_arithmetic.h for four lanes. SPDX-License-Identifier: Apache-2.0
 *
 * SRSHL by a negative count is a rounding shift to the right, with ties towards +infinity and no overflow.
 */
#ifndef SC_TAIL_NEON_H
#define SC_TAIL_NEON_H

#include <arm_neon.h>

#include "sc_arithmetic.h"

/* Four shifted accumulators. */
static inline int32x4_t sc_shifted4(int32x4_t acc, unsigned shift)
{
    return vshlq_s32(acc, vdupq_n_s32(-(int32_t)shift));
}

static inline int32x4_t sc_round4(int32x4_t v, unsigned shift)
{
    return vrshlq_s32(v, vdupq_n_s32(-(int32_t)shift));
}

static inline int32x4_t sc_input_multipliers4(uint32x4_t multipliers)
{
    return vreinterpretq_s32_u32(vandq_u32(multipliers, vdupq_n_u32(0xffff)));
}

static inline int32x4_t sc_recurrent_multipliers4(uint32x4_t multipliers)
{
    return vreinterpretq_s32_u32(vshrq_n_u32(multipliers, 16));
}

static inline int16x4_t sc_joint4(int32x4_t ax, int32x4_t ah, uint32x4_t multipliers, unsigned input_shift,
                                  unsigned recurrent_shift, sc_shift post)
{
    const int32x4_t x = vmulq_s32(sc_shifted4(ax, input_shift), sc_input_multipliers4(multipliers));
    const int32x4_t h = sc_shifted4(ah, recurrent_shift);
    return vqmovn_s32(sc_round4(vmlaq_s32(x, h, sc_recurrent_multipliers4(multipliers)), post.shift));
}

/* The sum wraps on its way: only the answer, 0..32767, has to fit 16 bits. */
static inline int16x4_t sc_sigmoid4(int16x4_t p)
{
    const uint32_t *lines = sc_sigmoid_table + 128;
    const int16x4_t at = vshr_n_s16(p, 8);
    uint32x4_t line = vld1q_dup_u32(lines + vget_lane_s16(at, 0));
    line = vld1q_lane_u32(lines + vget_lane_s16(at, 1), line, 1);
    line = vld1q_lane_u32(lines + vget_lane_s16(at, 2), line, 2);
    line = vld1q_lane_u32(lines + vget_lane_s16(at, 3), line, 3);
    const int16x4_t rise = vreinterpret_s16_u16(vshrn_n_u32(line, 16));
    const int16x4_t low = vreinterpret_s16_u16(vmovn_u32(line));
    return vadd_s16(low, vrshrn_n_s32(vmull_s16(rise, p), 8));
}

/* 2 * sigmoid(2p) - 32768: 2s, of which the highest bit is turned over. */
static inline int16x4_t sc_tanh4(int16x4_t p)
{
    return veor_s16(vshl_n_s16(sc_sigmoid4(vqadd_s16(p, p)), 1), vdup_n_s16(INT16_MIN));
}

static inline int32x4_t sc_mul15x4(int16x4_t a, int16x4_t b)
{
    return vrshrq_n_s32(vmull_s16(a, b), 15);
}

#endif
