/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_depthwise_s16
#define INPUT int16_t
#include "sc_depthwise.h"
