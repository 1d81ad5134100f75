/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_matvec_4x2_s16
#define INPUT int16_t
#define WIDTH 2u
#include "sc_matvec_blocks.h"
