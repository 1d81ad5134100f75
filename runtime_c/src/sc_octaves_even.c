/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_octaves.h"

void sc_octaves_even(int16_t *y, const int16_t *x, unsigned n, const int16_t *table)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = (int16_t)sc_octave_value(table, sc_within_int16(sc_magnitude(x[i])));
}
