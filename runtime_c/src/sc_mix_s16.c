/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_mix_s16
#define STORED int16_t
#define BITS 15
#include "sc_mix.h"
