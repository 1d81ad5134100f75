/* SPDX-License-Identifier: Apache-2.0 */
#define NAME sc_depthwise_s8
#define INPUT int8_t
#include "sc_depthwise.h"
