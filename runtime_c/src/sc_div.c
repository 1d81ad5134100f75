/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"
#include "sc_divide.h"

void sc_div(int16_t *y, const int16_t *a, const int16_t *b, unsigned n, uint16_t multiplier, sc_shift shift)
{
    for (unsigned i = 0; i < n; ++i) {
        const int32_t sign = (a[i] ^ b[i]) >> 15; /* 0 or -1 */
        const uint32_t divisor = sc_magnitude(b[i]);
        /* below 2^31; with half, below 2^31 + 2^29 */
        const uint32_t quotient =
            sc_divide(sc_magnitude(a[i]) * multiplier, divisor + ((divisor - 1u) >> 31));
        const uint32_t rounded = (quotient + (uint32_t)shift.half) >> shift.shift;
        const uint32_t over = 0u - ((32767u - rounded) >> 31); /* all ones where rounded > 32767 */
        const int32_t value = (int32_t)((rounded & ~over) | (32767u & over));
        y[i] = (int16_t)((value ^ sign) - sign);
    }
}
