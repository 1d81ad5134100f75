/* Tiles: words of which each holds one row's weights of four neighbouring columns, the lowest byte being the
 * first column. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines INPUT, the type of x's elements.
 */
#include "stepcell.h"

/* Adds a tile of `rows` rows, whose columns meet x[0..3]. No partial sum overflows: |start| + sum |w| |x| is
 * proven below 2^31. */
static inline void sc_add_tile(int32_t *sum, const uint32_t *tile, unsigned rows, const INPUT *x)
{
    const int32_t x0 = x[0], x1 = x[1], x2 = x[2], x3 = x[3];
    for (unsigned r = 0; r < rows; ++r) {
        const uint32_t word = SC_READ32(tile + r);
        sum[r] += (int8_t)(word & 0xffu) * x0 + (int8_t)((word >> 8) & 0xffu) * x1 +
                  (int8_t)((word >> 16) & 0xffu) * x2 + (int8_t)(word >> 24) * x3;
    }
}
