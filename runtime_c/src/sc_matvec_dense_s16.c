/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_matvec_dense_s16
#define INPUT int16_t
#include "sc_matvec_dense.h"
