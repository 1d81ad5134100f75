/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_TILES_S8
#define LINKAGE
#define NAME sc_matvec_tiles_s8
#define INPUT int8_t
#include "sc_matvec_tiles.h"
#endif
