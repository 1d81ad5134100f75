/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"

void sc_embed_s8(int8_t *y, const int16_t *tokens, unsigned n, const int8_t *table, uint16_t rows,
                 uint16_t width)
{
    for (unsigned i = 0; i < n; ++i) {
        const int32_t last = (int32_t)rows - 1; /* tokens out of the table take its nearest row */
        const int32_t row = last - sc_relu1(last - sc_relu1(tokens[i]));
        const int8_t *from = table + (uint32_t)row * width;
        for (unsigned k = 0; k < width; ++k)
            *y++ = (int8_t)SC_READ8(from + k);
    }
}
