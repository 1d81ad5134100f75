/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_matvec_dense_s8
#define INPUT int8_t
#include "sc_matvec_dense.h"
