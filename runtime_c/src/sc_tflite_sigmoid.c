/* Sigmoid as TensorFlow Lite's int16 kernels compute it. SPDX-License-Identifier: Apache-2.0 */
#include "sc_tflite.h"

int32_t sc_tflite_sigmoid(int32_t p)
{
    uint32_t negative = (uint32_t)p >> 31, some = (uint32_t)(p | -p) >> 31;
    SC_OPAQUE(negative);
    SC_OPAQUE(some);
    const int32_t below = sc_choose(0u - negative, p, -p);
    const int32_t above = sc_sat16(2 * sc_reciprocal(sc_exp_of_negative(below, 3)));
    return sc_choose(0u - some, sc_choose(0u - negative, 32767 - above, above), 16384);
}
