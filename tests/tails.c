/* A core's own functions against the portable ones, which are compiled as portable_*, over random layers.
 *
 * Kernels are called with x at every word of a few, since that is all the alignment they may count on.
 * A step takes {which function, units, seed}: units 0 compares many cases, and puts out how many differ;
 * otherwise it runs the core's own once, for a count of its instructions. */
#include "tails.h"

#include "sc_rows.h"

#define ROWS (4 * SC_PASS)
#define LONGEST 40
#define MOST_COLS 24 /* of int16, behind 4 words */

void portable_lstm_tail(const sc_lstm_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                        unsigned units, int16_t *h, int16_t *c);
void portable_gru_tail(const sc_gru_layer *layer, const sc_pass *acc, const uint32_t *multipliers,
                       unsigned units, int16_t *h);
void portable_dense_tail(const sc_dense_layer *layer, const int32_t *acc, const uint16_t *multipliers,
                         unsigned rows, int16_t *y);
void portable_view_s8(void *view, const int16_t *v, unsigned n, unsigned padded);

sc_matvec portable_matvec_rows8_dense, portable_matvec_rows8_dense_s16, portable_matvec_8x1,
    portable_matvec_8x1_s16, portable_matvec_swar8_dense, portable_matvec_swar8_8x2;

typedef int compare(uint32_t *seed, unsigned units);

static uint32_t below(uint32_t *seed, uint32_t end)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return (*seed >> 8) % end;
}

/* Often an end of its range. */
static int16_t any16(uint32_t *seed)
{
    static const int16_t ends[] = {INT16_MIN, INT16_MAX, 0, -1, 32639, 32640, 127, 128};
    return below(seed, 4) == 0 ? ends[below(seed, 8)] : (int16_t)((int32_t)below(seed, 65536) - 32768);
}

static void any_accumulators(uint32_t *seed, int32_t *acc, unsigned shift)
{
    for (unsigned i = 0; i < ROWS; ++i)
        acc[i] = any16(seed) * (int32_t)(1 << shift) / (1 << below(seed, 4)) +
                 (int32_t)below(seed, UINT32_C(1) << shift);
}

static sc_shift any_shift(uint32_t *seed)
{
    const unsigned shift = below(seed, 31);
    return (sc_shift){(int32_t)((UINT32_C(1) << shift) >> 1), (uint8_t)shift};
}

/* Shifts around 14 give what layers do; others saturate, or make nothing of it. */
static sc_shift usual_shift(uint32_t *seed)
{
    const unsigned shift = 11 + below(seed, 6);
    return below(seed, 2) ? any_shift(seed)
                          : (sc_shift){(int32_t)((UINT32_C(1) << shift) >> 1), (uint8_t)shift};
}

static uint32_t any_multiplier(uint32_t *seed)
{
    return below(seed, 4) == 0 ? 1u << 14 : below(seed, (1u << 14) + 1);
}

static void any_multipliers(uint32_t *seed, uint32_t *multipliers)
{
    for (unsigned i = 0; i < ROWS; ++i)
        multipliers[i] = any_multiplier(seed) << 16 | any_multiplier(seed);
}

static int differ(const void *a, const void *b, unsigned bytes)
{
    const uint8_t *p = a, *q = b;
    for (unsigned i = 0; i < bytes; ++i)
        if (p[i] != q[i])
            return 1;
    return 0;
}

static int lstm(uint32_t *seed, unsigned units)
{
    uint32_t multipliers[ROWS];
    int16_t h[2][SC_PASS], c[2][SC_PASS];
    sc_pass acc;
    sc_lstm_layer layer = {0};
    layer.multipliers = multipliers;
    layer.post = usual_shift(seed);
    layer.units = SC_PASS;
    layer.input_shift = (uint8_t)below(seed, 17);
    layer.recurrent_shift = (uint8_t)below(seed, 17);
    layer.cell_bits = units ? 12 : (uint8_t)below(seed, 16);
    any_accumulators(seed, acc.input, layer.input_shift);
    any_accumulators(seed, acc.recurrent, layer.recurrent_shift);
    any_multipliers(seed, multipliers);
    for (unsigned u = 0; u < SC_PASS; ++u) {
        h[0][u] = h[1][u] = any16(seed);
        c[0][u] = c[1][u] = any16(seed);
    }
    const unsigned here = units ? units : 1 + below(seed, SC_PASS);
    sc_lstm_tail(&layer, &acc, multipliers, here, h[0], c[0]);
    portable_lstm_tail(&layer, &acc, multipliers, here, h[1], c[1]);
    return differ(h[0], h[1], sizeof h[0]) | differ(c[0], c[1], sizeof c[0]);
}

static int gru(uint32_t *seed, unsigned units)
{
    uint32_t multipliers[ROWS];
    int16_t h[2][SC_PASS];
    sc_pass acc;
    sc_gru_layer layer = {0};
    layer.multipliers = multipliers;
    layer.post = usual_shift(seed);
    layer.candidate_input = usual_shift(seed);
    layer.candidate_recurrent = usual_shift(seed);
    layer.units = SC_PASS;
    layer.grain = (uint8_t)(1u << below(seed, 4));
    layer.input_shift = (uint8_t)below(seed, 17);
    layer.recurrent_shift = (uint8_t)below(seed, 17);
    any_accumulators(seed, acc.input, layer.input_shift);
    any_accumulators(seed, acc.recurrent, layer.recurrent_shift);
    any_multipliers(seed, multipliers);
    for (unsigned u = 0; u < SC_PASS; ++u)
        h[0][u] = h[1][u] = any16(seed);
    const unsigned here = units ? units : 1 + below(seed, SC_PASS);
    sc_gru_tail(&layer, &acc, multipliers, here, h[0]);
    portable_gru_tail(&layer, &acc, multipliers, here, h[1]);
    return differ(h[0], h[1], sizeof h[0]);
}

static int dense(uint32_t *seed, unsigned rows)
{
    uint16_t multipliers[ROWS];
    int16_t y[2][ROWS];
    int32_t acc[ROWS];
    sc_dense_layer layer = {0};
    layer.post = usual_shift(seed);
    layer.pre_shift = (uint8_t)below(seed, 17);
    layer.least = below(seed, 2) ? 0 : INT16_MIN;
    any_accumulators(seed, acc, layer.pre_shift);
    for (unsigned i = 0; i < ROWS; ++i) {
        multipliers[i] = (uint16_t)any_multiplier(seed);
        y[0][i] = y[1][i] = any16(seed);
    }
    const unsigned here = rows ? rows : 1 + below(seed, ROWS);
    sc_dense_tail(&layer, acc, multipliers, here, y[0]);
    portable_dense_tail(&layer, acc, multipliers, here, y[1]);
    return differ(y[0], y[1], sizeof y[0]);
}

static int view(uint32_t *seed, unsigned units)
{
    int16_t v[LONGEST];
    int8_t out[2][LONGEST];
    for (unsigned i = 0; i < LONGEST; ++i) {
        v[i] = any16(seed);
        out[0][i] = out[1][i] = (int8_t)below(seed, 128);
    }
    const unsigned n = units ? units : below(seed, LONGEST + 1);
    const unsigned padded = units ? units : n + below(seed, LONGEST - n + 1);
    sc_view_s8(out[0], v, n, padded);
    portable_view_s8(out[1], v, n, padded);
    return differ(out[0], out[1], sizeof out[0]);
}

/* Two row groups of up to MOST_COLS columns, whose every position is a block's. */
static int same(uint32_t *seed, sc_matvec *own, sc_matvec *portable, int in_pairs)
{
    static const int32_t ends[] = {-127, 127};
    const unsigned cols = 2u * (1 + below(seed, MOST_COLS / 2));
    uint32_t words[2 * 4 * MOST_COLS], x[MOST_COLS / 2 + 4];
    uint8_t columns[2 * (MOST_COLS + 1)];
    int32_t start[16], acc[2][16];
    for (unsigned i = 0; i < 8 * cols; ++i) {
        const uint32_t packed = (uint32_t)(ends[below(seed, 2)] * 65536 + ends[below(seed, 2)]);
        words[i] = in_pairs ? packed : below(seed, 65536) << 16 | below(seed, 65536);
    }
    for (unsigned i = 0; i < MOST_COLS / 2 + 4; ++i)
        x[i] = below(seed, 65536) << 16 | below(seed, 65536);
    const unsigned positions = in_pairs ? cols / 2 : cols;
    for (unsigned i = 0; i < 2 * (positions + 1); ++i) {
        const unsigned at = i % (positions + 1);
        columns[i] = (uint8_t)(at == 0 ? positions : at - 1);
    }
    for (unsigned i = 0; i < 16; ++i)
        start[i] = any16(seed);
    int wrong = 0;
    for (unsigned skip = 0; skip < 4; ++skip) {
        const sc_cursor from = {words, columns, start, (uint16_t)cols, 8};
        sc_cursor at[2] = {from, from};
        own(&at[0], x + skip, acc[0], 16);
        portable(&at[1], x + skip, acc[1], 16);
        wrong |= differ(acc[0], acc[1], sizeof acc[0]) | differ(&at[0], &at[1], sizeof at[0]);
    }
    return wrong;
}

static int kernels(uint32_t *seed, unsigned units)
{
    (void)units;
    return same(seed, sc_matvec_rows8_dense, portable_matvec_rows8_dense, 0) |
           same(seed, sc_matvec_rows8_dense_s16, portable_matvec_rows8_dense_s16, 0) |
           same(seed, sc_matvec_8x1, portable_matvec_8x1, 0) |
           same(seed, sc_matvec_8x1_s16, portable_matvec_8x1_s16, 0) |
           same(seed, sc_matvec_swar8_dense, portable_matvec_swar8_dense, 1) |
           same(seed, sc_matvec_swar8_8x2, portable_matvec_swar8_8x2, 1);
}

static compare *const functions[] = {lstm, gru, dense, view, kernels};
static const uint16_t cases[] = {2000, 1000, 500, 500, 10};

void tails_init(tails_state *state)
{
    state->seed = 0;
}

void tails_step(tails_state *state, const int8_t *x, int32_t *wrong)
{
    state->seed = 1u + (uint8_t)x[2];
    wrong[0] = 0;
    for (unsigned i = x[1] ? 1 : cases[x[0]]; i != 0; --i)
        wrong[0] += functions[x[0]](&state->seed, (uint8_t)x[1]);
}

int tails_selftest(void)
{
    return 0;
}
