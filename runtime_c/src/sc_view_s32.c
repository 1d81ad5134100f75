/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_VIEW_S32
#define NAME sc_view_s32
#define STORED int32_t
#include "sc_view.h"
#endif
