/* Tiles of 8 rows and 4 columns, inputs of 16 bits: SXTL, SMLAL. SPDX-License-Identifier: Apache-2.0
 *
 * A row has four accumulators, one for each column of a tile, which are added at the end of a row group:
 * 12 instructions and 3 loads for 32 weights.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_S16
#include "sc_neon.h"

void sc_matvec_tiles_s16(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        const int16_t *in = x;
        int32x4_t r0 = vdupq_n_s32(0), r1 = r0, r2 = r0, r3 = r0, r4 = r0, r5 = r0, r6 = r0, r7 = r0;
        for (size_t c = 0; c < at->cols; c += 4, in += 4, weights += 8) {
            const int8x16_t a = sc_four_rows(weights), b = sc_four_rows(weights + 4);
            const int16x8_t r01 = vmovl_s8(vget_low_s8(a)), r23 = vmovl_high_s8(a);
            const int16x8_t r45 = vmovl_s8(vget_low_s8(b)), r67 = vmovl_high_s8(b);
            const int16x4_t v = vld1_s16(in);
            const int16x8_t twice = vcombine_s16(v, v);
            r0 = vmlal_s16(r0, vget_low_s16(r01), v);
            r1 = vmlal_high_s16(r1, r01, twice);
            r2 = vmlal_s16(r2, vget_low_s16(r23), v);
            r3 = vmlal_high_s16(r3, r23, twice);
            r4 = vmlal_s16(r4, vget_low_s16(r45), v);
            r5 = vmlal_high_s16(r5, r45, twice);
            r6 = vmlal_s16(r6, vget_low_s16(r67), v);
            r7 = vmlal_high_s16(r7, r67, twice);
        }
        const int32x4_t low = vpaddq_s32(vpaddq_s32(r0, r1), vpaddq_s32(r2, r3));
        const int32x4_t high = vpaddq_s32(vpaddq_s32(r4, r5), vpaddq_s32(r6, r7));
        vst1q_s32(acc, vaddq_s32(vld1q_s32(start), low));
        vst1q_s32(acc + 4, vaddq_s32(vld1q_s32(start + 4), high));
    }
    at->weights = weights;
    at->start = start;
}
#endif
