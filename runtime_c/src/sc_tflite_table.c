/* A function of every int8. SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

void sc_tflite_table(int8_t *y, const int8_t *x, unsigned n, const uint8_t *table)
{
    for (unsigned i = 0; i < n; ++i)
        y[i] = (int8_t)((int32_t)(SC_READ8(table + (x[i] + 128)) ^ 128u) - 128);
}
