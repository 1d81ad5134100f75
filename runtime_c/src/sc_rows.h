/* What the recurrent layers share: four units at a time. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_ROWS_H
#define SC_ROWS_H

#include "sc_arithmetic.h"

/* How many of the four units from `unit` on exist; the rest of the group is padding. */
static inline unsigned sc_units_here(unsigned unit, unsigned units)
{
    return units - unit < 4 ? units - unit : 4;
}

/* acc = bias; returns where the next rows' bias lies. */
static inline const int32_t *sc_start(int32_t *acc, const int32_t *bias, unsigned rows)
{
    for (unsigned r = 0; r < rows; ++r)
        acc[r] = (int32_t)SC_READ32(bias + r);
    return bias + rows;
}

/* The hidden zero keeps compilers from calling memset for a few words. */
static inline void sc_zero(int32_t *acc, unsigned rows)
{
    int32_t zero = 0;
    SC_OPAQUE(zero);
    for (unsigned r = 0; r < rows; ++r)
        acc[r] = zero;
}

/* acc[4 * groups] += the matrix's next row groups times x. */
static inline void sc_multiply(const sc_matrix *matrix, sc_cursor *at, unsigned groups, const void *x,
                               int32_t *acc)
{
    matrix->multiply(at, groups, matrix->cols, x, acc);
}

#endif
