/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_8X1_S16
#define NAME sc_matvec_8x1_s16
#define INPUT int16_t
#include "sc_matvec_8x1.h"
#endif
