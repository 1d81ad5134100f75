/* SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

/* Byte by byte: the caller's buffers may have any alignment. */
void sc_copy(void *to, const void *from, unsigned n, unsigned padded)
{
    unsigned char *out = to;
    const unsigned char *in = from;
    for (unsigned i = 0; i < n; ++i)
        out[i] = in[i];
    for (unsigned i = n; i < padded; ++i)
        out[i] = 0;
}
