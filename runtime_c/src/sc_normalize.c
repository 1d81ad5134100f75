/* Rows to mean 0 and variance 1, then a gain and a bias. SPDX-License-Identifier: Apache-2.0 */
#include "sc_divide.h"
#include "sc_root.h"

/* Where a row lies: the sum of x, and the shift that takes the largest of its centred elements to 15 bits. */
typedef struct row {
    int32_t sum, up, half; /* up: 2^-shift where that is negative, else 1 */
    unsigned down;
} row;

/* n * x - sum of x: n <= 2^14, so it is within 2^30. */
static int32_t centred(const row *at, int32_t x, unsigned n)
{
    return x * (int32_t)n - at->sum;
}

/* The same in 16 bits: within 2^15 after either shift. */
static int32_t shifted(const row *at, int32_t x, unsigned n)
{
    return (centred(at, x, n) * at->up + at->half) >> at->down;
}

static int32_t rounded(int32_t v, unsigned by)
{
    return (v + (int32_t)(((uint32_t)1 << by) >> 1)) >> by;
}

static int32_t sum_of(const int16_t *x, unsigned n)
{
    int32_t sum = 0;
    for (unsigned i = 0; i < n; ++i)
        sum += x[i]; /* within 2^29 */
    return sum;
}

/* The bits of the largest |n * x - sum| less 15, at least least_shift: -15..15. */
static int32_t common_shift(const sc_normalize_layer *layer, const row *at, const int16_t *x)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < layer->n; ++i) {
        const int32_t c = centred(at, x[i], layer->n);
        bits |= (uint32_t)(c ^ (c >> 31));
    }
    const int32_t more = (int32_t)sc_bit_length(bits) - 15 - layer->least_shift;
    return layer->least_shift + sc_relu1(more);
}

/* epsilon in units of the sum of squares: it meets at most 2^30. */
static uint32_t epsilon_at(const sc_normalize_layer *layer, int32_t shift)
{
    const int32_t by = layer->epsilon_exponent - 2 * shift;
    const uint32_t down = (uint32_t)sc_relu1(-by);
    return ((uint32_t)layer->epsilon << sc_relu1(by)) >> (31u - (uint32_t)sc_relu1((int32_t)(31u - down)));
}

static void normalize_row(const sc_normalize_layer *layer, int16_t *y, const int16_t *x)
{
    const unsigned n = layer->n;
    row at = {sum_of(x, n), 0, 0, 0};
    const int32_t shift = common_shift(layer, &at, x);
    at.down = (unsigned)sc_relu1(shift);
    at.up = (int32_t)((uint32_t)1 << sc_relu1(-shift));
    at.half = (int32_t)(((uint32_t)1 << at.down) >> 1);
    uint32_t squares = epsilon_at(layer, shift);
    for (unsigned i = 0; i < n; ++i) {
        const int32_t d = shifted(&at, x[i], n);
        squares += (uint32_t)sc_round(d * d, layer->square); /* n of them within 2^30 */
    }
    squares += (squares - 1u) >> 31; /* at least 1 */
    const unsigned lift = (32u - (unsigned)sc_bit_length(squares)) >> 1;
    uint32_t root = sc_root(squares << (2u * lift)); /* 2^15..2^16 */
    root -= root >> 16;
    const uint32_t inverse = sc_divide(((uint32_t)1 << 30) + (root >> 1), root); /* 2^14..2^15 */
    for (unsigned i = 0; i < n; ++i) {
        const int32_t d = shifted(&at, x[i], n);
        const int32_t z = sc_sat16(rounded(d * (int32_t)inverse, layer->result_shift - lift)); /* <= 2^30 */
        /* the product is within 2^29, the bias within 2^30 */
        const int32_t scaled = z * (int16_t)SC_READ16(layer->gain + i) + (int32_t)SC_READ32(layer->bias + i);
        y[i] = (int16_t)sc_sat16(sc_round(scaled, layer->post));
    }
}

void sc_normalize(const sc_normalize_layer *layer, int16_t *y, const int16_t *x, unsigned rows)
{
    for (unsigned r = 0; r < rows; ++r, x += layer->n, y += layer->n)
        normalize_row(layer, y, x);
}
