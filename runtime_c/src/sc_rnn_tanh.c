/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_rnn_tanh
#define FUNCTION sc_tanh1
#include "sc_rnn.h"
