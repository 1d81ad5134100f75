/* Which functions this folder implements: RV32 with the M extension. SPDX-License-Identifier: Apache-2.0
 *
 * Preprocessor lines only: assembly includes this too. A portable file whose function is here declares
 * nothing else, which strict C forbids: so it gets the runtime's declarations.
 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 8

#if defined(__riscv) && __riscv_xlen == 32 && defined(__riscv_mul) && !defined(__riscv_32e)
#ifndef __ASSEMBLER__
#include "stepcell.h"
#endif
#define SC_HAS_MATVEC_ROWS8_DENSE
#define SC_HAS_MATVEC_ROWS8_DENSE_S16
#define SC_HAS_MATVEC_8X1
#define SC_HAS_MATVEC_8X1_S16
#define SC_HAS_MATVEC_SWAR8_DENSE
#define SC_HAS_MATVEC_SWAR8_8X2
#define SC_HAS_LSTM_TAIL
#define SC_HAS_GRU_TAIL
#define SC_HAS_DENSE_TAIL
#define SC_HAS_VIEW_S8
#endif

#endif
