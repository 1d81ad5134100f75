/* Depthwise convolution: every channel has a window of its own; included once for each input type.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines NAME and INPUT.
 */
#include "sc_arithmetic.h"

/* The taps of a window along one axis that lie inside the input. */
typedef struct sc_taps {
    unsigned first, count;
} sc_taps;

/* Positions before the input wrap round, and are too large like those behind it. */
static inline sc_taps sc_taps_inside(unsigned at, unsigned kernel, unsigned dilation, unsigned size)
{
    sc_taps taps = {0, 0};
    while (taps.first < kernel && at + taps.first * dilation >= size)
        ++taps.first;
    while (taps.first + taps.count < kernel && at + (taps.first + taps.count) * dilation < size)
        ++taps.count;
    return taps;
}

static inline int16_t sc_depthwise_tail(const sc_depthwise_layer *layer, int32_t acc, unsigned channel)
{
    const int32_t sum = sc_sat16(acc >> layer->pre_shift); /* beyond int16, no output could hold it */
    const int32_t product = sum * (int32_t)SC_READ16(layer->multipliers + channel);
    const int32_t v = sc_sat16(sc_round(product, layer->post));
    return (int16_t)(layer->least == 0 ? sc_relu1(v) : v);
}

/* All channels at one position; |start| + sum |w| |x| is proven below 2^31. */
static inline void sc_depthwise_at(const sc_depthwise_layer *layer, const sc_window *window, const INPUT *x,
                                   unsigned down, unsigned across, int16_t *y)
{
    const unsigned channels = layer->channels, dilation = window->dilation_across;
    const sc_taps rows = sc_taps_inside(down, window->kernel_down, window->dilation_down, window->rows);
    const sc_taps columns = sc_taps_inside(across, window->kernel_across, dilation, window->columns);
    const unsigned tap = dilation * window->tap;
    const unsigned row = window->dilation_down * (unsigned)window->columns * window->tap;
    const int inside = rows.count != 0 && columns.count != 0;
    const unsigned top = down + rows.first * window->dilation_down, left = across + columns.first * dilation;
    const INPUT *v = inside ? x + (top * window->columns + left) * window->tap : x;
    const unsigned taps = inside ? rows.first * window->kernel_across + columns.first : 0;
    const int8_t *w = layer->weights + taps * channels;

    for (unsigned c = 0; c < channels; ++c) {
        int32_t acc = (int32_t)SC_READ32(layer->start + c);
        for (unsigned k = 0; k < rows.count; ++k) {
            const INPUT *in = v + k * row + c;
            const int8_t *weight = w + k * window->kernel_across * channels + c;
            for (unsigned l = columns.count; l != 0; --l, in += tap, weight += channels)
                acc += (int8_t)SC_READ8(weight) * (int32_t)*in;
        }
        y[c] = sc_depthwise_tail(layer, acc, c);
    }
}

void NAME(const sc_depthwise_layer *layer, const sc_window *window, const INPUT *x, int16_t *y)
{
    for (unsigned i = 0; i < window->positions_down; ++i)
        for (unsigned j = 0; j < window->positions_across; ++j) {
            sc_depthwise_at(layer, window, x, i * window->stride_down - window->before_down,
                            j * window->stride_across - window->before_across, y);
            y += layer->channels;
        }
}
