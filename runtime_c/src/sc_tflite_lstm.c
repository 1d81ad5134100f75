/* LSTM of an int8 TensorFlow Lite file, one step. SPDX-License-Identifier: Apache-2.0 */
#include "sc_rows.h"
#include "sc_tflite.h"

/* p in Q3.12: saturated after the input matrix, and again after the recurrent one. */
static int32_t gate(const uint32_t *factors, const sc_pass *acc, unsigned row)
{
    const uint32_t *own = factors + 4 * (row & 3u);
    const int32_t p = sc_sat16(sc_factor(acc->input[row], own));
    return sc_sat16(p + sc_factor(acc->recurrent[row], own + 2));
}

void sc_tflite_lstm(const sc_tflite_lstm_layer *layer, const void *x, const void *before, int8_t *h,
                    int16_t *c)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const unsigned cell_bits = layer->cell_bits;

    for (unsigned left = layer->units; left != 0;) {
        sc_pass acc;
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->input.multiply(&input, x, acc.input, 4 * pass);
        layer->recurrent.multiply(&recurrent, before, acc.recurrent, 4 * pass);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t i = sc_tflite_sigmoid(gate(layer->factors, &acc, 4 * u));
            const int32_t o = sc_tflite_sigmoid(gate(layer->factors, &acc, 4 * u + 1));
            const int32_t f = sc_tflite_sigmoid(gate(layer->factors, &acc, 4 * u + 2));
            const int32_t g = sc_tflite_tanh(gate(layer->factors, &acc, 4 * u + 3), 3);
            /* both products stay within 2^30 */
            const int32_t sum = sc_away(f * c[u], 15) + sc_away(i * g, 30 - cell_bits);
            const int32_t next = sc_clamp(sc_sat16(sum), -layer->cell_limit, layer->cell_limit);
            const int32_t product = o * sc_tflite_tanh(next, 15 - cell_bits);
            c[u] = (int16_t)next;
            h[u] = (int8_t)sc_clamp(sc_factor(product, layer->factors + 16) + layer->hidden_zero, -128, 127);
        }
        h += here;
        c += here;
        left -= here;
    }
}
