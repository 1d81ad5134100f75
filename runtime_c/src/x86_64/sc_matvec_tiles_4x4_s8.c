/* Inputs of 8 bits: 9 instructions a tile; VPMADDWD's sum of two products is exact, 2 * 128 * 127 < 2^15.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_4X4_S8
#define FUNCTION sc_matvec_tiles_4x4_s8
#define INPUT int8_t
#define REPEAT4 sc_repeat4_wide
#include "sc_avx2_tiles_4x4.h"
#endif
