/* A row for a memory; included once for each storage type. SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME, STORED and VALUE, which gives what is stored of an int16 element. A memory that
 * is full keeps its last row, in as many instructions.
 */
#include "sc_arithmetic.h"

void NAME(STORED *memory, const int32_t *count, const int16_t *x, unsigned rows, unsigned width)
{
    const int32_t over = sc_relu1(*count - (int32_t)rows + 1); /* 0 while there is a free row */
    STORED *row = memory + (uint32_t)(*count - over) * width;
    int32_t kept = -over >> 31; /* all ones where the row stays */
    SC_OPAQUE(kept);
    for (unsigned i = 0; i < width; ++i) {
        const int32_t v = VALUE(x[i]);
        row[i] = (STORED)(v ^ ((v ^ row[i]) & kept));
    }
}
