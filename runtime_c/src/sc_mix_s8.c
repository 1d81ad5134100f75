/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_mix_s8
#define STORED int8_t
#define BITS 7
#include "sc_mix.h"
