/* Layers, tails and the view by the MVE folder against the portable ones, which are compiled as portable_*.
 *
 * A step takes {which, units, cell_bits, seed, cases} and puts out how many elements differ. */
#include "layers.h"

#include "sc_rows.h"

#define MOST_UNITS 36
#define ROWS (4 * MOST_UNITS)
#define BEYOND 12

void portable_lstm(const sc_lstm_layer *layer, const void *x, const void *view, int16_t *h, int16_t *c);
void portable_gru(const sc_gru_layer *layer, const void *x, const void *view, int16_t *h);
void portable_dense(const sc_dense_layer *layer, const void *x, int16_t *y);
void portable_view_s8(void *view, const int16_t *v, unsigned n, unsigned padded);

typedef int32_t compare(uint32_t *seed, unsigned units, unsigned cell_bits);

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
    static const int16_t ends[] = {INT16_MIN, INT16_MAX, 0, -1, 16384, 255, 256, -256};
    return below(seed, 4) == 0 ? ends[below(seed, 8)] : (int16_t)((int32_t)below(seed, 65536) - 32768);
}

/* Accumulators that are x; cols counts them. */
static void feed(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const int32_t *from = (const int32_t *)x + at->cols;
    for (unsigned r = 0; r < rows; ++r)
        acc[r] = from[r];
    at->cols = (uint16_t)(at->cols + rows);
}

typedef struct {
    uint32_t multipliers[ROWS];
    int32_t ax[ROWS], ah[ROWS];
    int16_t h[2][MOST_UNITS + BEYOND], c[2][MOST_UNITS + BEYOND];
} trial;

static sc_shift shift_of(unsigned shift)
{
    return (sc_shift){(int32_t)((UINT32_C(1) << shift) >> 1), (uint8_t)shift};
}

/* Half of them as layers have them; others saturate, or make nothing of it. */
static sc_shift any_shift(uint32_t *seed)
{
    return shift_of(below(seed, 2) ? below(seed, 31) : 9 + below(seed, 7));
}

static uint32_t any_multiplier(uint32_t *seed)
{
    return below(seed, 4) == 0 ? 16384 : below(seed, 16385);
}

static void any_accumulators(uint32_t *seed, int32_t acc[ROWS], unsigned shift)
{
    for (unsigned r = 0; r < ROWS; ++r)
        acc[r] = any16(seed) * (int32_t)(1 << shift) + (int32_t)below(seed, UINT32_C(1) << shift);
}

static void any_trial(uint32_t *seed, trial *t, unsigned input_shift, unsigned recurrent_shift)
{
    any_accumulators(seed, t->ax, input_shift);
    any_accumulators(seed, t->ah, recurrent_shift);
    for (unsigned r = 0; r < ROWS; ++r)
        t->multipliers[r] = any_multiplier(seed) << 16 | any_multiplier(seed);
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u) {
        t->h[0][u] = any16(seed);
        t->c[0][u] = any16(seed);
    }
}

/* Multipliers of 1, so that each accumulator of the input is a pre-activation; states beside it. */
static void next_values(uint32_t *seed, trial *t, int32_t first, unsigned gates)
{
    const unsigned other = below(seed, gates);
    for (unsigned r = 0; r < ROWS; ++r) {
        const int32_t p = first + (int32_t)(r / gates);
        t->ax[r] = r % gates == other ? any16(seed) : p < INT16_MAX ? p : INT16_MAX;
        t->ah[r] = any16(seed);
        t->multipliers[r] = 1;
    }
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u) {
        t->h[0][u] = any16(seed);
        t->c[0][u] = (int16_t)(first + (int32_t)u);
    }
}

static int32_t lstm_differs(trial *t, const sc_lstm_layer *layer)
{
    int32_t wrong = 0;
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u) {
        t->h[1][u] = t->h[0][u];
        t->c[1][u] = t->c[0][u];
    }
    sc_lstm(layer, t->ax, t->ah, t->h[0], t->c[0]);
    portable_lstm(layer, t->ax, t->ah, t->h[1], t->c[1]);
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u)
        wrong += (t->h[0][u] != t->h[1][u]) + (t->c[0][u] != t->c[1][u]);
    return wrong;
}

static sc_lstm_layer lstm_layer(trial *t, unsigned units, unsigned cell_bits)
{
    sc_lstm_layer layer = {{feed, {0}}, {feed, {0}}, t->multipliers, {0}, 0, 0, 0, 0, 0};
    layer.units = (uint16_t)units;
    layer.grain = 2;
    layer.cell_bits = (uint8_t)cell_bits;
    return layer;
}

static int32_t any_lstm(uint32_t *seed, unsigned units, unsigned cell_bits)
{
    trial t;
    sc_lstm_layer layer = lstm_layer(&t, units, cell_bits);
    layer.grain = (uint8_t)(2u << below(seed, 3));
    layer.input_shift = (uint8_t)below(seed, 17);
    layer.recurrent_shift = (uint8_t)below(seed, 17);
    layer.post = any_shift(seed);
    any_trial(seed, &t, layer.input_shift, layer.recurrent_shift);
    return lstm_differs(&t, &layer);
}

static int32_t every_lstm(uint32_t *seed, unsigned units, unsigned cell_bits)
{
    trial t;
    const sc_lstm_layer layer = lstm_layer(&t, units, cell_bits);
    int32_t wrong = 0;
    for (int32_t first = -32768; first < 32768; first += (int32_t)units) {
        next_values(seed, &t, first, 4);
        for (unsigned r = 0; r < ROWS; ++r)
            t.ah[r] = 0;
        wrong += lstm_differs(&t, &layer);
    }
    return wrong;
}

static int32_t gru_differs(trial *t, const sc_gru_layer *layer)
{
    int32_t wrong = 0;
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u)
        t->h[1][u] = t->h[0][u];
    sc_gru(layer, t->ax, t->ah, t->h[0]);
    portable_gru(layer, t->ax, t->ah, t->h[1]);
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u)
        wrong += t->h[0][u] != t->h[1][u];
    return wrong;
}

static sc_gru_layer gru_layer(trial *t, unsigned units)
{
    sc_gru_layer layer = {{feed, {0}}, {feed, {0}}, t->multipliers, {0}, {0}, {0}, 0, 0, 0, 0};
    layer.units = (uint16_t)units;
    layer.grain = 2;
    return layer;
}

static int32_t any_gru(uint32_t *seed, unsigned units, unsigned cell_bits)
{
    trial t;
    sc_gru_layer layer = gru_layer(&t, units);
    (void)cell_bits;
    layer.grain = (uint8_t)(2u << below(seed, 3));
    layer.input_shift = (uint8_t)below(seed, 17);
    layer.recurrent_shift = (uint8_t)below(seed, 17);
    layer.post = any_shift(seed);
    layer.candidate_input = any_shift(seed);
    layer.candidate_recurrent = any_shift(seed);
    any_trial(seed, &t, layer.input_shift, layer.recurrent_shift);
    return gru_differs(&t, &layer);
}

/* What r lets through is any16, of which it makes any value. */
static int32_t every_gru(uint32_t *seed, unsigned units, unsigned cell_bits)
{
    trial t;
    const sc_gru_layer layer = gru_layer(&t, units);
    int32_t wrong = 0;
    (void)cell_bits;
    for (int32_t first = -32768; first < 32768; first += (int32_t)units) {
        next_values(seed, &t, first, 3);
        wrong += gru_differs(&t, &layer);
    }
    return wrong;
}

static int32_t any_dense(uint32_t *seed, unsigned rows, unsigned cell_bits)
{
    trial t;
    uint16_t multipliers[MOST_UNITS];
    sc_dense_layer layer = {{feed, {0}}, multipliers, {0}, 0, 0, 0, 0, 0};
    int32_t wrong = 0;
    (void)cell_bits;
    layer.rows = (uint16_t)rows;
    layer.grain = 8;
    layer.pre_shift = (uint8_t)below(seed, 17);
    layer.post = any_shift(seed);
    layer.least = below(seed, 2) ? 0 : INT16_MIN;
    any_trial(seed, &t, layer.pre_shift, 0);
    for (unsigned u = 0; u < MOST_UNITS; ++u)
        multipliers[u] = (uint16_t)t.multipliers[u];
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u)
        t.h[1][u] = t.h[0][u];
    sc_dense(&layer, t.ax, t.h[0]);
    portable_dense(&layer, t.ax, t.h[1]);
    for (unsigned u = 0; u < MOST_UNITS + BEYOND; ++u)
        wrong += t.h[0][u] != t.h[1][u];
    return wrong;
}

static int32_t any_view(uint32_t *seed, unsigned n, unsigned cell_bits)
{
    int16_t v[MOST_UNITS];
    int8_t view[2][MOST_UNITS + BEYOND + 15];
    const unsigned padded = cell_bits ? (n + 15u) & ~15u : n + below(seed, 5);
    int32_t wrong = 0;
    for (unsigned u = 0; u < MOST_UNITS; ++u)
        v[u] = any16(seed);
    for (unsigned u = 0; u < sizeof view[0]; ++u)
        view[0][u] = view[1][u] = (int8_t)below(seed, 128);
    sc_view_s8(view[0], v, n, padded);
    portable_view_s8(view[1], v, n, padded);
    for (unsigned u = 0; u < sizeof view[0]; ++u)
        wrong += view[0][u] != view[1][u];
    return wrong;
}

static compare *const comparisons[] = {any_lstm, every_lstm, any_gru, every_gru, any_dense, any_view};

void layers_init(layers_state *state)
{
    state->seed = 0;
}

void layers_step(layers_state *state, const int8_t *x, int32_t *wrong)
{
    state->seed = 1u + (uint32_t)x[3];
    wrong[0] = 0;
    for (int8_t i = 0; i < x[4]; ++i)
        wrong[0] += comparisons[x[0]](&state->seed, (unsigned)x[1], (unsigned)x[2]);
}

int layers_selftest(void)
{
    return 0;
}
