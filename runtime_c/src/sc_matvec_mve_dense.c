/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "sc_mve_rows.h"
#ifndef SC_HAS_MATVEC_MVE_DENSE
#define NAME sc_matvec_mve_dense
#define INPUT int8_t
#define WIDTH 16u
#include "sc_matvec_mve_dense.h"
#endif
