/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_hold_pairs_s16
#define INPUT int16_t
#define VALUE(v) sc_view1(v)
#include "sc_hold_pairs.h"
