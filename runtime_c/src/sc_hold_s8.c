/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_hold_s8
#define INPUT int8_t
#define VALUE(v) (v)
#include "sc_hold.h"
