/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_append_s8
#define STORED int8_t
#define VALUE(v) sc_view1(v)
#include "sc_append.h"
