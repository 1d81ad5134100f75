/* Convolution: a dense layer at every position of a window. SPDX-License-Identifier: Apache-2.0 */
#include "stepcell.h"

/* Vectors are aligned to words; where `words` says that all offsets and sizes are words too, they move so. */
#if defined(__GNUC__) && !defined(__AVR__)
typedef uint32_t __attribute__((may_alias)) sc_word;
#define SC_HAS_WORDS 1
#else
#define SC_HAS_WORDS 0
#endif

static void sc_move(const sc_window *window, unsigned char *to, const unsigned char *from, unsigned n)
{
#if SC_HAS_WORDS
    if (window->words != 0) {
        sc_word *out = (sc_word *)(void *)to;
        const sc_word *in = (const sc_word *)(const void *)from;
        for (unsigned i = 0; i < n / 4u; ++i)
            out[i] = in[i];
        return;
    }
#else
    (void)window;
#endif
    for (unsigned i = 0; i < n; ++i)
        to[i] = from[i];
}

static void sc_clear(unsigned char *to, unsigned n)
{
    for (unsigned i = 0; i < n; ++i)
        to[i] = 0;
}

/* One row of the window from column `across` on; positions outside the input wrap round, and are too large.
 */
static void sc_window_row(const sc_window *window, const unsigned char *row, unsigned across,
                          unsigned char *to)
{
    const unsigned tap = window->tap, last = across + (unsigned)(window->kernel_across - 1);
    if (window->dilation_across == 1 && across < window->columns && last < window->columns) {
        sc_move(window, to, row + across * tap, window->kernel_across * tap);
        return;
    }
    for (unsigned k = 0; k < window->kernel_across; ++k) {
        const unsigned column = across + k * window->dilation_across;
        if (column < window->columns)
            sc_move(window, to, row + column * tap, tap);
        else
            sc_clear(to, tap);
        to += tap;
    }
}

/* What the matrix reads with its window at a row and a column: in place, or gathered in `scratch`. */
static const void *sc_window_at(const sc_window *window, const unsigned char *x, unsigned down,
                                unsigned across, unsigned char *scratch)
{
    const unsigned width = window->columns * (unsigned)window->tap;
    const unsigned size = window->kernel_across * (unsigned)window->tap;
    const unsigned last = across + (unsigned)(window->kernel_across - 1);
    unsigned char *to = scratch;

    if (window->in_place != 0 && down < window->rows && across < window->columns && last < window->columns)
        return x + down * width + across * (unsigned)window->tap;
    for (unsigned k = 0; k < window->kernel_down; ++k) {
        const unsigned row = down + k * window->dilation_down;
        if (row < window->rows)
            sc_window_row(window, x + row * width, across, to);
        else
            sc_clear(to, size);
        to += size;
    }
    sc_clear(to, window->padded - size * window->kernel_down);
    return scratch;
}

void sc_conv(const sc_dense_layer *layer, const sc_window *window, const void *x, int16_t *y, void *scratch)
{
    for (unsigned i = 0; i < window->positions_down; ++i) {
        const unsigned down = i * window->stride_down - window->before_down;
        for (unsigned j = 0; j < window->positions_across; ++j) {
            const unsigned across = j * window->stride_across - window->before_across;
            sc_dense(layer, sc_window_at(window, x, down, across, scratch), y);
            y += layer->rows;
        }
    }
}
