/* Tiles of 8 rows and 4 columns: SDOT, or SMULL, SMLAL and SADALP. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_S8
#include "sc_neon.h"

#ifdef __ARM_FEATURE_DOTPROD
/* SDOT adds a row's four products to its accumulator. Up to four row groups share the inputs, so that eight
 * sums hide its latency: 8 SDOT and 8 loads for 128 weights. */

typedef struct sums {
    int32x4_t low, high;
} sums;
typedef int8x16_t columns;

static inline sums load_sums(const int32_t *start)
{
    return (sums){vld1q_s32(start), vld1q_s32(start + 4)};
}

static inline void store_sums(int32_t *acc, sums s)
{
    vst1q_s32(acc, s.low);
    vst1q_s32(acc + 4, s.high);
}

static inline columns load_columns(const int8_t *x)
{
    return sc_repeat4(x);
}

static inline sums add_tile(sums s, const uint32_t *tile, columns x)
{
    return (sums){vdotq_s32(s.low, sc_four_rows(tile), x), vdotq_s32(s.high, sc_four_rows(tile + 4), x)};
}

#define LINKAGE
#define NAME sc_matvec_tiles_s8
#define INLINE static inline
#include "sc_tile_groups.h"

#else
/* Two tiles at a time: SMULL and SMLAL sum the products of two tiles in 16 bits, 2 * 128 * 127 = 32512 at
 * most, and SADALP adds pairs of columns to 32-bit accumulators, of which a row has two: 12 instructions and
 * 4 loads for 64 weights, and 2 loads of inputs. */

/* Two rows' products with two tiles, [row 0: 4 columns][row 1: 4 columns], added in pairs. */
#define ADD_LOW(sum, w, x, w_next, x_next)                                                                   \
    vpadalq_s16(                                                                                             \
        sum, vmlal_s8(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vget_low_s8(w_next), vget_low_s8(x_next)))
#define ADD_HIGH(sum, w, x, w_next, x_next)                                                                  \
    vpadalq_s16(sum, vmlal_high_s8(vmull_high_s8(w, x), w_next, x_next))

void sc_matvec_tiles_s8(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 8, acc += 8, start += at->stride) {
        const int8_t *in = x;
        int32x4_t r01 = vdupq_n_s32(0), r23 = r01, r45 = r01, r67 = r01;
        size_t tiles = at->cols / 4u;
        for (; tiles >= 2; tiles -= 2, in += 8, weights += 16) {
            const int8x16_t a = sc_four_rows(weights), b = sc_four_rows(weights + 4);
            const int8x16_t a_next = sc_four_rows(weights + 8), b_next = sc_four_rows(weights + 12);
            const int8x16_t v = sc_repeat4(in), v_next = sc_repeat4(in + 4);
            r01 = ADD_LOW(r01, a, v, a_next, v_next);
            r23 = ADD_HIGH(r23, a, v, a_next, v_next);
            r45 = ADD_LOW(r45, b, v, b_next, v_next);
            r67 = ADD_HIGH(r67, b, v, b_next, v_next);
        }
        if (tiles != 0) {
            const int8x16_t a = sc_four_rows(weights), b = sc_four_rows(weights + 4), v = sc_repeat4(in);
            r01 = vpadalq_s16(r01, vmull_s8(vget_low_s8(a), vget_low_s8(v)));
            r23 = vpadalq_s16(r23, vmull_high_s8(a, v));
            r45 = vpadalq_s16(r45, vmull_s8(vget_low_s8(b), vget_low_s8(v)));
            r67 = vpadalq_s16(r67, vmull_high_s8(b, v));
            weights += 8;
        }
        vst1q_s32(acc, vaddq_s32(vld1q_s32(start), vpaddq_s32(r01, r23)));
        vst1q_s32(acc + 4, vaddq_s32(vld1q_s32(start + 4), vpaddq_s32(r45, r67)));
    }
    at->weights = weights;
    at->start = start;
}
#endif
#endif
