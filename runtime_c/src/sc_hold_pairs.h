/* Which pairs of elements of a vector changed; included once for each input type. SPDX-License-Identifier:
 * Apache-2.0
 *
 * The includer defines NAME, INPUT and VALUE, which gives the int8 value of an element.
 */
#include "sc_hold1.h"

void NAME(int8_t *held, const INPUT *v, unsigned n, unsigned threshold, sc_change_pair *changes)
{
    for (unsigned i = 0; i < n; i += 2) {
        const int by0 = sc_hold1(held + i, (int)VALUE(v[i]), (int)threshold);
        const int by1 = i + 1 < n ? sc_hold1(held + i + 1, (int)VALUE(v[i + 1]), (int)threshold) : 0;
        if ((by0 | by1) != 0)
            *changes++ = (sc_change_pair){8 * (uint32_t)i, {(int16_t)by0, (int16_t)by1}};
    }
    changes[0] = changes[1] = (sc_change_pair){0, {0, 0}};
}
