/* The int8 view of an int16 vector; included once for each storage type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and STORED.
 */
#include "sc_arithmetic.h"

void NAME(void *view, const int16_t *v, unsigned n, unsigned padded)
{
    STORED *out = view;
    for (unsigned i = 0; i < n; ++i)
        out[i] = (STORED)sc_view1(v[i]);
    for (unsigned i = n; i < padded; ++i)
        out[i] = 0;
}
