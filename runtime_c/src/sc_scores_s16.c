/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_arithmetic.h"
#include "sc_seen.h"

void sc_scores_s16(int32_t *scores, const int16_t *query, const int16_t *keys, unsigned rows, unsigned width,
                   const int32_t *count, sc_shift product)
{
    const unsigned n = sc_seen(count, rows);
    for (unsigned s = 0; s < n; ++s, keys += width) {
        int32_t sum = 0; /* width <= 2^product, so |sum| <= 2^30 */
        for (unsigned i = 0; i < width; ++i)
            sum += sc_round((int32_t)query[i] * keys[i], product);
        scores[s] = sum;
    }
}
