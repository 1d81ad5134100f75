/* Inputs of 16 bits: 8 instructions a tile; VPMADDWD's sum of two products is exact, 2 * 32768 * 127 < 2^23.
 * SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_4X4_S16
#define FUNCTION sc_matvec_tiles_4x4_s16
#define INPUT int16_t
#define REPEAT4 sc_repeat8
#include "sc_avx2_tiles_4x4.h"
#endif
