/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_ROWS8_DENSE
#define NAME sc_matvec_rows8_dense
#define INPUT int8_t
#include "sc_matvec_rows8_dense.h"
#endif
