/* Blocks of 8 rows and 1 column, int16_t x. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_8X1_S16
/* frame: 32 bytes */
#define NAME sc_matvec_8x1_s16
#define LOAD_X lh
#define X_SHIFT 1
#include "sc_rv32_8x1.h"
#endif
