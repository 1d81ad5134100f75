/* What the kernels of this folder share. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_NEON_H
#define SC_NEON_H

#include <arm_neon.h>

#include "stepcell.h"

/* Four rows' weights of a tile, four columns each. */
static inline int8x16_t sc_four_rows(const uint32_t *tile)
{
    return vreinterpretq_s8_u32(vld1q_u32(tile));
}

/* Four inputs, four times. x is aligned to 4 bytes, and c a multiple of 4. */
static inline int8x16_t sc_repeat4(const int8_t *x)
{
    return vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)x));
}

#endif
