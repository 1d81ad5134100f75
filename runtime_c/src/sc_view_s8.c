/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_VIEW_S8
#define NAME sc_view_s8
#define STORED int8_t
#include "sc_view.h"
#endif
