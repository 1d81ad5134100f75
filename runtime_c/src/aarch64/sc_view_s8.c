/* The int8 view of an int16 vector, sixteen elements at a time. SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"
#include "sc_isa.h"
#ifdef SC_HAS_VIEW_S8
#include <arm_neon.h>

/* SQRSHRN: (v + 128) >> 8, without overflow, saturated to 127. */
void sc_view_s8(void *view, const int16_t *v, unsigned n, unsigned padded)
{
    int8_t *out = view;
    unsigned i = 0;
    for (; n - i >= 16; i += 16) {
        const int8x8_t low = vqrshrn_n_s16(vld1q_s16(v + i), 8);
        vst1q_s8(out + i, vqrshrn_high_n_s16(low, vld1q_s16(v + i + 8), 8));
    }
    for (; i < n; ++i)
        out[i] = (int8_t)sc_view1(v[i]);
    for (; i < padded; ++i)
        out[i] = 0;
}
#endif
