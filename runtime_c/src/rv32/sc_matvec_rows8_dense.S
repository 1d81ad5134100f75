/* Dense row groups of eight, int8_t x. SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_ROWS8_DENSE
/* frame: 32 bytes */
#define NAME sc_matvec_rows8_dense
#define LOAD_X lb
#define X_SHIFT 0
#include "sc_rv32_rows8_dense.h"
#endif
