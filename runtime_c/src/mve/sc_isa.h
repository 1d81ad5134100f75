/* Cores with Helium, the M-profile vector extension (MVE): Cortex-M55, M85. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 8

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define SC_HAS_MATVEC_MVE_DENSE
#define SC_HAS_MATVEC_MVE_DENSE_S16
#define SC_HAS_MATVEC_MVE_4X16
#define SC_HAS_LSTM
#define SC_HAS_GRU
#define SC_HAS_DENSE_TAIL
#define SC_HAS_VIEW_S8
#endif

#endif
