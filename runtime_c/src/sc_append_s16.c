/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_append_s16
#define STORED int16_t
#define VALUE(v) (int32_t)(v)
#include "sc_append.h"
