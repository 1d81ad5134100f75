/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_TILES_4X4_S16
#define LINKAGE
#define NAME sc_matvec_tiles_4x4_s16
#define INPUT int16_t
#include "sc_matvec_tiles_4x4.h"
#endif
