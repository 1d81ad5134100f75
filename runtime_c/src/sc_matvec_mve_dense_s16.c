/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "sc_mve_rows.h"
#ifndef SC_HAS_MATVEC_MVE_DENSE_S16
#define NAME sc_matvec_mve_dense_s16
#define INPUT int16_t
#define WIDTH 8u
#include "sc_matvec_mve_dense.h"
#endif
