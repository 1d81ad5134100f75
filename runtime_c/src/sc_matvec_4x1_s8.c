/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_matvec_4x1_s8
#define INPUT int8_t
#define WIDTH 1u
#include "sc_matvec_blocks.h"
