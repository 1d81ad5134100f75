/* What this folder implements for Armv7-M: Cortex-M3. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 8

#if defined(__ARM_ARCH_7M__)
#define SC_HAS_MATVEC_SWAR_DENSE
#define SC_HAS_MATVEC_SWAR_4X2
#define SC_HAS_MATVEC_DENSE_S32
#define SC_HAS_MATVEC_4X1_S32
#define SC_HAS_LSTM_TAIL
#define SC_HAS_GRU_TAIL
#endif

#endif
