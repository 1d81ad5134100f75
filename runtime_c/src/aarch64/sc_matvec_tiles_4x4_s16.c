/* Tiles of 4 rows and 4 columns, those with weights, inputs of 16 bits: SXTL, SMLAL.
 * SPDX-License-Identifier: Apache-2.0
 *
 * A row has four accumulators, one for each column of a tile, which are added at the end of a row group.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_4X4_S16
#include "sc_neon.h"

void sc_matvec_tiles_4x4_s16(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        int32x4_t r0 = vdupq_n_s32(0), r1 = r0, r2 = r0, r3 = r0;
        const int16_t *in = x;
        for (size_t first = 0; first < at->cols; first += 4 * SC_SEGMENT, in += 4 * SC_SEGMENT)
            for (unsigned tiles = *columns++; tiles != 0; --tiles, weights += 4) {
                const int8x16_t w = sc_four_rows(weights);
                const int16x8_t r01 = vmovl_s8(vget_low_s8(w)), r23 = vmovl_high_s8(w);
                const int16x4_t v = vld1_s16(in + 4 * (size_t)*columns++);
                r0 = vmlal_s16(r0, vget_low_s16(r01), v);
                r1 = vmlal_s16(r1, vget_high_s16(r01), v);
                r2 = vmlal_s16(r2, vget_low_s16(r23), v);
                r3 = vmlal_s16(r3, vget_high_s16(r23), v);
            }
        const int32x4_t sum = vpaddq_s32(vpaddq_s32(r0, r1), vpaddq_s32(r2, r3));
        vst1q_s32(acc, vaddq_s32(vld1q_s32(start), sum));
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
