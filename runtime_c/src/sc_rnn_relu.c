/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_rnn_relu
#define FUNCTION sc_relu1
#include "sc_rnn.h"
