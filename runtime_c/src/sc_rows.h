/* What the layers share: passes of up to SC_PASS units. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_ROWS_H
#define SC_ROWS_H

#include "sc_arithmetic.h"
#include "sc_isa.h"

/* The accumulators of a pass of a recurrent layer, at most 4 rows a unit. */
typedef struct sc_pass {
    int32_t input[4 * SC_PASS], recurrent[4 * SC_PASS];
} sc_pass;

/* What follows the matrices, for `units` units of a pass from h (and c) on: requantization, gates, state. */
void sc_lstm_tail(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                  int16_t *h, int16_t *c);
void sc_gru_tail(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers, unsigned units,
                 int16_t *h);
void sc_dense_tail(const sc_dense_layer *layer, const int32_t *acc, const uint16_t *multipliers,
                   unsigned rows, int16_t *y);

/* How many units the next pass computes, padding included, of `left`. */
static inline unsigned sc_next_pass(unsigned left, unsigned grain)
{
    return left >= SC_PASS ? SC_PASS : (left + grain - 1) & (0u - grain);
}

static inline unsigned sc_least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* The units whose sums a GRU or RNN of held values keeps: kernels that add changes take 8 rows at once. */
static inline unsigned sc_delta_units(unsigned units)
{
    return (units + 7u) & ~7u;
}

#endif
