/* Dense row groups of eight, int16_t x. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_ROWS8_DENSE_S16
/* frame: 32 bytes */
#define NAME sc_matvec_rows8_dense_s16
#define LOAD_X lh
#define X_SHIFT 1
#include "sc_rv32_rows8_dense.h"
#endif
