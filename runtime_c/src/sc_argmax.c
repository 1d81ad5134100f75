/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_argmax(int16_t *y, const int16_t *x, unsigned rows, unsigned n)
{
    for (unsigned r = 0; r < rows; ++r, x += n) {
        int32_t most = x[0], at = 0;
        for (unsigned i = 1; i < n; ++i) {
            const int32_t more = sc_relu1(x[i] - most);
            int32_t larger = -more >> 31; /* all ones where x[i] > most */
            SC_OPAQUE(larger);
            most += more;
            at += ((int32_t)i - at) & larger;
        }
        y[r] = (int16_t)at;
    }
}
