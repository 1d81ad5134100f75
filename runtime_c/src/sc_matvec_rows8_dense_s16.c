/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_ROWS8_DENSE_S16
#define NAME sc_matvec_rows8_dense_s16
#define INPUT int16_t
#include "sc_matvec_rows8_dense.h"
#endif
