/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_root.h"

void sc_hypot(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, int16_t multiplier, sc_shift shift)
{
    for (unsigned i = 0; i < n; ++i) {
        const uint32_t squares = (uint32_t)((int32_t)a[i] * a[i]) + (uint32_t)((int32_t)b[i] * b[i]);
        /* squares <= 2^31, so the root is below 2^15.5 and the product below 2^30 */
        y[i] = (int16_t)sc_sat16(sc_round((int32_t)sc_root(squares) * multiplier, shift));
    }
}
