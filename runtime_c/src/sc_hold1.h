/* One element of a vector that is held. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_HOLD1_H
#define SC_HOLD1_H

#include "sc_arithmetic.h"

/* How far a value is from what is held, which it replaces if that is too far; else 0. */
static inline int sc_hold1(int8_t *held, int value, int threshold)
{
    const int by = value - *held;
    if (by <= threshold && by >= -threshold)
        return 0;
    *held = (int8_t)value;
    return by;
}

#endif
