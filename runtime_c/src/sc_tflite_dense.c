/* Dense layer of an int8 TensorFlow Lite file. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"
#include "sc_tflite.h"

/* Rounded once, ties towards +infinity; |acc * factor| < 2^30. */
static int32_t scaled(int32_t acc, const uint32_t *factor)
{
    const int64_t product = (int64_t)acc * (int32_t)SC_READ32(factor);
    const unsigned right = (unsigned)SC_READ32(factor + 1);
    return (int32_t)((product + ((int64_t)1 << (right - 1))) >> right);
}

void sc_tflite_dense(const sc_tflite_dense_layer *layer, const void *x, int8_t *y)
{
    sc_cursor at = layer->matrix.at;
    const uint32_t *factor = layer->factors;

    for (unsigned left = layer->rows; left != 0;) {
        int32_t acc[SC_PASS];
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->matrix.multiply(&at, x, acc, pass);
        for (unsigned r = 0; r < here; ++r) {
            const int32_t v = scaled(acc[r], factor + 2 * r) + layer->zero;
            y[r] = (int8_t)sc_clamp(v, layer->least, 127);
        }
        factor += 2 * pass;
        y += here;
        left -= here;
    }
}
