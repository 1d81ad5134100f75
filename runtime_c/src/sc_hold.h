/* What of a vector changed; included once for each input type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME, INPUT and VALUE, which gives the int8 value of an element.
 */
#include "sc_hold1.h"

void NAME(int8_t *held, const INPUT *v, unsigned n, unsigned threshold, sc_change *changes)
{
    for (unsigned i = 0; i < n; ++i) {
        const int by = sc_hold1(held + i, (int)VALUE(v[i]), (int)threshold);
        if (by != 0)
            *changes++ = (sc_change){(uint16_t)(8 * i), (int16_t)by};
    }
    *changes = (sc_change){0, 0};
}
