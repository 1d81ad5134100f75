/* Blocks of 8 rows and 1 column, int8_t x. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_8X1
/* frame: 32 bytes */
#define NAME sc_matvec_8x1
#define LOAD_X lb
#define X_SHIFT 0
#include "sc_rv32_8x1.h"
#endif
