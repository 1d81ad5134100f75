/* Tiles of 4 rows and 4 columns, those with weights: SDOT, or SMULL and SADALP.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_4X4_S8
#include "sc_neon.h"

/* The sums of four rows: one accumulator a row, or one for each pair of columns of a tile. */
typedef struct sums {
#ifdef __ARM_FEATURE_DOTPROD
    int32x4_t rows;
#else
    int32x4_t r01, r23;
#endif
} sums;

static inline sums no_sums(void)
{
    const int32x4_t none = vdupq_n_s32(0);
#ifdef __ARM_FEATURE_DOTPROD
    return (sums){none};
#else
    return (sums){none, none};
#endif
}

static inline sums add_tile(sums s, int8x16_t w, int8x16_t x)
{
#ifdef __ARM_FEATURE_DOTPROD
    return (sums){vdotq_s32(s.rows, w, x)};
#else
    return (sums){vpadalq_s16(s.r01, vmull_s8(vget_low_s8(w), vget_low_s8(x))),
                  vpadalq_s16(s.r23, vmull_high_s8(w, x))};
#endif
}

static inline int32x4_t rows_of(sums s)
{
#ifdef __ARM_FEATURE_DOTPROD
    return s.rows;
#else
    return vpaddq_s32(s.r01, s.r23);
#endif
}

void sc_matvec_tiles_4x4_s8(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        sums s = no_sums();
        const int8_t *in = x;
        for (size_t first = 0; first < at->cols; first += 4 * SC_SEGMENT, in += 4 * SC_SEGMENT)
            for (unsigned tiles = *columns++; tiles != 0; --tiles, weights += 4)
                s = add_tile(s, sc_four_rows(weights), sc_repeat4(in + 4 * (size_t)*columns++));
        vst1q_s32(acc, vaddq_s32(vld1q_s32(start), rows_of(s)));
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}
#endif
