/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_MATVEC_4X1_S32
#define NAME sc_matvec_4x1_s32
#define INPUT int32_t
#define WIDTH 1u
#include "sc_matvec_blocks.h"
#endif
