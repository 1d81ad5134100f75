/* What x86-64 replaces, with AVX2 if the processor has it. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 8

#if defined(__x86_64__) && defined(__GNUC__)
#define SC_HAS_MATVEC_TILES_S8
#define SC_HAS_MATVEC_TILES_S16
#define SC_HAS_MATVEC_TILES_4X4_S8
#define SC_HAS_MATVEC_TILES_4X4_S16
#define SC_HAS_LSTM_TAIL
#define SC_HAS_GRU_TAIL
#define SC_HAS_VIEW_S8
#endif

#endif
