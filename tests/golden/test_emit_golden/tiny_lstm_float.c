/* tiny_lstm: between real numbers and the network's integers. Made by stepcell VERSION; do not edit. */
#include "tiny_lstm_float.h"

#define LIMIT 127

static tiny_lstm_x_t quantize(float x)
{
    const float v = x * 8.18711472f + 0.5f; /* 1 / TINY_LSTM_X_SCALE */
    if (!(v > -LIMIT)) /* also NaN, which becomes 0 */
        return v != v ? 0 : -LIMIT;
    if (v >= LIMIT)
        return LIMIT;
    const int32_t whole = (int32_t)v;
    return (tiny_lstm_x_t)(whole - ((float)whole > v));
}

void tiny_lstm_quantize_input(const float x[TINY_LSTM_X], tiny_lstm_x_t q[TINY_LSTM_X])
{
    for (unsigned i = 0; i < TINY_LSTM_X; ++i)
        q[i] = quantize(x[i]);
}

void tiny_lstm_dequantize_output(const tiny_lstm_y_t y[TINY_LSTM_Y], float real[TINY_LSTM_Y])
{
    for (unsigned i = 0; i < TINY_LSTM_Y; ++i)
        real[i] = (float)y[i] * TINY_LSTM_Y_SCALE;
}
