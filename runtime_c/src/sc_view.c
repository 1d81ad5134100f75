/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_view(int8_t *view, const int16_t *v, unsigned n, unsigned padded)
{
    for (unsigned i = 0; i < n; ++i)
        view[i] = sc_view1(v[i]);
    for (unsigned i = n; i < padded; ++i)
        view[i] = 0;
}
