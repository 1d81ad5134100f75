/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_isa.h"
#include "stepcell.h"
#ifndef SC_HAS_VIEW_S16
#define NAME sc_view_s16
#define STORED int16_t
#include "sc_view.h"
#endif
