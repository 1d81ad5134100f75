/* Cortex-M with the DSP extension (M4, M7, M33): SMLAD, SXTB16 and saturation. SPDX-License-Identifier:
 * Apache-2.0 */
#ifndef SC_ISA_H
#define SC_ISA_H

#define SC_PASS 4 /* on any compiler: tables are ordered for it */

#if defined(__thumb__) && defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32) &&                     \
    defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
#define SC_HAS_MATVEC_HILO_DENSE
#define SC_HAS_MATVEC_HILO_4X1
#define SC_HAS_MATVEC_HILO_4X2
#define SC_HAS_MATVEC_QUAD_DENSE_S16
#define SC_HAS_MATVEC_NIBBLE_DENSE
#define SC_HAS_DELTA_HILO
#define SC_HAS_LSTM_TAIL
#define SC_HAS_GRU_TAIL
#define SC_HAS_DENSE_TAIL
#define SC_HAS_VIEW_S16
#endif

#endif
