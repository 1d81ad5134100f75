/* What this folder implements for Armv6-M: Cortex-M0, M0+, M1. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 8

#if defined(__ARM_ARCH_6M__)
#define SC_HAS_MATVEC_SWAR_DENSE
#define SC_HAS_MATVEC_SWAR_4X2
#define SC_HAS_MATVEC_OFFSET_DENSE
#define SC_HAS_MATVEC_OFFSET_4X1
#define SC_HAS_LSTM_TAIL
#define SC_HAS_GRU_TAIL
#define SC_HAS_DENSE_TAIL
#endif

#endif
