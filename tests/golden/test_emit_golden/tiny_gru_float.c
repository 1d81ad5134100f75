/* tiny_gru: between real numbers and the network's integers. Made by stepcell VERSION; do not edit. */
#include "tiny_gru_float.h"

#define LIMIT 127

static tiny_gru_x_t quantize(float x)
{
    const float v = x * 10.8648329f + 0.5f; /* 1 / TINY_GRU_X_SCALE */
    if (!(v > -LIMIT)) /* also NaN, which becomes 0 */
        return v != v ? 0 : -LIMIT;
    if (v >= LIMIT)
        return LIMIT;
    const int32_t whole = (int32_t)v;
    return (tiny_gru_x_t)(whole - ((float)whole > v));
}

void tiny_gru_quantize_input(const float x[TINY_GRU_X], tiny_gru_x_t q[TINY_GRU_X])
{
    for (unsigned i = 0; i < TINY_GRU_X; ++i)
        q[i] = quantize(x[i]);
}

void tiny_gru_dequantize_output(const tiny_gru_y_t y[TINY_GRU_Y], float real[TINY_GRU_Y])
{
    for (unsigned i = 0; i < TINY_GRU_Y; ++i)
        real[i] = (float)y[i] * TINY_GRU_Y_SCALE;
}
