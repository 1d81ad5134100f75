/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_lstm_tail.h"
#include "sc_isa.h"

#ifndef SC_HAS_LSTM_TAIL
void sc_lstm_tail(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                  int16_t *h, int16_t *c)
{
    sc_lstm_units(layer, acc, multipliers, units, h, c);
}
#endif
