/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_8X1
#define NAME sc_matvec_8x1
#define INPUT int8_t
#include "sc_matvec_8x1.h"
#endif
