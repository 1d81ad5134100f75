/* Softmax over rows. SPDX-License-Identifier: Apache-2.0 */
#include "sc_divide.h"
#include "sc_power.h"

void sc_softmax(int16_t *y, const int16_t *x, unsigned rows, unsigned n, int16_t multiplier, sc_shift shift,
                unsigned fraction)
{
    const unsigned lift = fraction - 15u;
    for (unsigned r = 0; r < rows; ++r, x += n, y += n) {
        int32_t most = x[0];
        for (unsigned i = 1; i < n; ++i)
            most += sc_relu1(x[i] - most);
        uint32_t sum = 0; /* the largest element alone gives 2^fraction >= 2^15; n of them at most 2^31 */
        for (unsigned i = 0; i < n; ++i)
            sum += sc_power_of_half(sc_exponent(most - x[i], multiplier, shift), lift);
        const unsigned by = (unsigned)sc_bit_length(sum >> 16);
        const uint32_t inverse = sc_divide((uint32_t)1 << 31, sum >> by); /* 2^15 < inverse <= 2^16 */
        for (unsigned i = 0; i < n; ++i) {
            const uint32_t e = sc_power_of_half(sc_exponent(most - x[i], multiplier, shift), lift) >> by;
            const uint32_t q = (e * inverse + 32768u) >> 16; /* e <= sum >> by, so the product is <= 2^31 */
            y[i] = (int16_t)(q - (q >> 15));
        }
    }
}
