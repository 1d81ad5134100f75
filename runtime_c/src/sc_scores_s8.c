/* SPDX-License-Identifier: Apache-2.0 */
#include "sc_seen.h"

void sc_scores_s8(int32_t *scores, const int8_t *query, const int8_t *keys, unsigned rows, unsigned width,
                  const int32_t *count)
{
    const unsigned n = sc_seen(count, rows);
    for (unsigned s = 0; s < n; ++s) {
        const int8_t *q = query;
        int32_t sum = 0; /* width <= 2^14: |sum| <= 2^28 */
        for (unsigned i = width >> 2; i != 0; --i, q += 4, keys += 4)
            sum += (int32_t)q[0] * keys[0] + (int32_t)q[1] * keys[1] + (int32_t)q[2] * keys[2] +
                   (int32_t)q[3] * keys[3];
        for (unsigned i = width & 3u; i != 0; --i)
            sum += (int32_t)*q++ * *keys++;
        scores[s] = sum;
    }
}
