/* Dense rows in pairs: two words are two columns of rows 0 1 and rows 2 3. SPDX-License-Identifier:
 * Apache-2.0 */
#include "sc_hilo.h"
#include "sc_isa.h"

#ifndef SC_HAS_MATVEC_HILO_DENSE

void sc_matvec_hilo_dense(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        const int16_t *v = x;
        sc_hilo a = sc_hilo_start(start), b = sc_hilo_start(start + 2);
        for (unsigned c = 0; c < at->cols; c += 2, weights += 2, v += 2) {
            sc_hilo_add(&a, SC_READ32(weights), v[0], v[1]);
            sc_hilo_add(&b, SC_READ32(weights + 1), v[0], v[1]);
        }
        sc_hilo_store(acc, a);
        sc_hilo_store(acc + 2, b);
    }
    at->weights = weights;
    at->start = start;
}
#endif
