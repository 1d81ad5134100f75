/* How much of a memory there is. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_SEEN_H
#define SC_SEEN_H

#include "stepcell.h"

/* At least one row, at most all. */
static inline unsigned sc_seen(const int32_t *count, unsigned rows)
{
    const int32_t n = *count;
    return n < 1 ? 1 : n < (int32_t)rows ? (unsigned)n : rows;
}

#endif
