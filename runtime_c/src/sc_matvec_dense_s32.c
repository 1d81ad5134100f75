/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_DENSE_S32
#define NAME sc_matvec_dense_s32
#define INPUT int32_t
#include "sc_matvec_dense.h"
#endif
