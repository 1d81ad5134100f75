/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_gru_tail.h"
#include "sc_isa.h"

#ifndef SC_HAS_GRU_TAIL
void sc_gru_tail(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                 int16_t *h)
{
    sc_gru_units(layer, acc, multipliers, units, h);
}
#endif
