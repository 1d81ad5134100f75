/* The innermost step of the MVE kernels in portable C. SPDX-License-Identifier: Apache-2.0 */
#ifndef SC_MVE_ROWS_H
#define SC_MVE_ROWS_H

#include "stepcell.h"

/* Adds up four columns of a row: the bytes of a word, the lowest first, times four inputs. */
#define SC_ADD_FOUR(sum, word, v)                                                                            \
    ((sum) + (uint32_t)((int32_t)(int8_t)((word)&0xffu) * (v)[0]) +                                          \
     (uint32_t)((int32_t)(int8_t)(((word) >> 8) & 0xffu) * (v)[1]) +                                         \
     (uint32_t)((int32_t)(int8_t)(((word) >> 16) & 0xffu) * (v)[2]) +                                        \
     (uint32_t)((int32_t)(int8_t)((word) >> 24) * (v)[3]))

#endif
