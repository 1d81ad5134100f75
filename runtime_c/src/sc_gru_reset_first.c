/* GRU with linear_before_reset = 0, after sc_gru_reset: the other two gates. SPDX-License-Identifier:
 * Apache-2.0 */
#include "sc_rows.h"

static inline int32_t gate(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                           unsigned row)
{
    return sc_joint(acc->input[row], acc->recurrent[row], SC_READ32(multipliers + row), layer->input_shift,
                    layer->recurrent_shift, layer->post);
}

void sc_gru_reset_first(const sc_gru_layer *layer, const void *x, const void *view, const void *gated_view,
                        int16_t *h)
{
    sc_cursor input = layer->input.at, recurrent = layer->recurrent.at;
    const uint32_t *multipliers = layer->multipliers;

    for (unsigned left = layer->units; left != 0;) {
        sc_pass acc;
        const unsigned pass = sc_next_pass(left, layer->grain), here = sc_least(pass, left);
        layer->input.multiply(&input, x, acc.input, 2 * pass);
        layer->recurrent.multiply(&recurrent, view, acc.recurrent, pass);
        layer->recurrent.multiply(&recurrent, gated_view, acc.recurrent + pass, pass);
        for (unsigned u = 0; u < here; ++u) {
            const int32_t z = sc_sigmoid1(gate(layer, &acc, multipliers, u));
            const int32_t n = sc_tanh1(gate(layer, &acc, multipliers, pass + u));
            /* |z * (h - n)| <= 32767 * 65535 < 2^31 - 2^14 */
            h[u] = (int16_t)(n + sc_mul15(z, h[u] - n));
        }
        multipliers += 2 * pass;
        h += here;
        left -= here;
    }
}
