/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_octaves.h"

void sc_octaves_odd(int16_t *y, const int16_t *x, unsigned n, const int16_t *table)
{
    for (unsigned i = 0; i < n; ++i) {
        const int32_t sign = x[i] >> 15; /* 0 or -1 */
        const int32_t value = sc_octave_value(table, sc_within_int16(sc_magnitude(x[i])));
        y[i] = (int16_t)sc_sat16((value ^ sign) - sign);
    }
}
