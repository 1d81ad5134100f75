/* Every loop over bytes is volatile, so that no compiler turns it into a call of memset or memcpy:
 * the calls that are counted are then the model's own. */
#include "harness.h"

#include "port.h"

#define JOBS_MAGIC 0x324a4353u    /* "SCJ2" */
#define RESULTS_MAGIC 0x32524353u /* "SCR2" */
#define RESULTS_END 0x21444e45u   /* "END!" */

enum { KIND_RUN = 0, KIND_STACK = 1, KIND_SELFTEST = 2 };

#define FLAG_MISALIGNED 1u
#define POISON 0xa5u
#define GUARD 0x5cu

typedef struct {
    uint32_t kind;
    uint32_t flags;
    uint32_t lanes;
    uint32_t parts;
} job;

typedef struct {
    uint32_t id;
    uint32_t state_bytes;
} lane_request;

/* What all lanes do one after the other: each calls one of its model's functions, once for each frame. */
typedef struct {
    uint32_t function;
    uint32_t x_bytes;
    uint32_t y_bytes;
} part_request;

typedef struct {
    const harness_model *model;
    const harness_function *function; /* of the part that runs */
    uint8_t *state;
} lane;

uint32_t harness_measures_stack;
uint32_t harness_stack_used;

static lane lanes[HARNESS_MAX_LANES];

static void fill(uint8_t *at, uint32_t bytes, uint8_t value)
{
    volatile uint8_t *out = at;
    for (uint32_t i = 0; i < bytes; i++) {
        out[i] = value;
    }
}

static void guard(uint8_t *end)
{
    fill(end, HARNESS_GUARD_BYTES, GUARD);
}

static int guard_is_intact(const uint8_t *end)
{
    const volatile uint8_t *in = end;
    for (uint32_t i = 0; i < HARNESS_GUARD_BYTES; i++) {
        if (in[i] != GUARD) {
            return 0;
        }
    }
    return 1;
}

static int write_word(uint32_t value)
{
    return port_write(&value, sizeof value) == 0 ? HARNESS_OK : HARNESS_OUTPUT;
}

static const harness_model *find_model(uint32_t id)
{
    for (uint32_t i = 0; i < harness_model_count; i++) {
        if (harness_models[i].id == id) {
            return &harness_models[i];
        }
    }
    return 0;
}

/* A state starts poisoned: a field that init forgets then differs from the reference. */
static int open_lane(uint32_t index)
{
    lane_request request;
    if (port_read(&request, sizeof request) != 0) {
        return HARNESS_SHORT_INPUT;
    }
    const harness_model *model = find_model(request.id);
    if (model == 0) {
        return HARNESS_UNKNOWN_MODEL;
    }
    if (request.state_bytes != model->state_bytes) {
        return HARNESS_LAYOUT;
    }
    lanes[index].model = model;
    lanes[index].state = (uint8_t *)&harness_states[index * harness_state_words];
    fill(lanes[index].state, model->state_bytes, POISON);
    guard(lanes[index].state + model->state_bytes);
    return HARNESS_OK;
}

static int open_lanes(const job *now)
{
    if (now->lanes == 0 || now->lanes > HARNESS_MAX_LANES) {
        return HARNESS_LANES;
    }
    for (uint32_t i = 0; i < now->lanes; i++) {
        int code = open_lane(i);
        if (code != HARNESS_OK) {
            return code;
        }
    }
    return HARNESS_OK;
}

static int choose_function(lane *at)
{
    part_request request;
    if (port_read(&request, sizeof request) != 0) {
        return HARNESS_SHORT_INPUT;
    }
    if (request.function >= at->model->function_count) {
        return HARNESS_LAYOUT;
    }
    at->function = &at->model->functions[request.function];
    if (request.x_bytes != at->function->x_bytes || request.y_bytes != at->function->y_bytes) {
        return HARNESS_LAYOUT;
    }
    return HARNESS_OK;
}

static int choose_functions(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        int code = choose_function(&lanes[i]);
        if (code != HARNESS_OK) {
            return code;
        }
    }
    return HARNESS_OK;
}

static int write_call(const lane *at, const uint8_t *y)
{
    uint32_t state_bytes = at->model->state_bytes;
    uint32_t y_bytes = at->function->y_bytes;
    if (!guard_is_intact(at->state + state_bytes) || !guard_is_intact(y + y_bytes)) {
        return HARNESS_OVERRUN;
    }
    if (port_write(at->state, state_bytes) != 0 || port_write(y, y_bytes) != 0) {
        return HARNESS_OUTPUT;
    }
    if (!harness_measures_stack) {
        return HARNESS_OK;
    }
    return harness_stack_used == PORT_STACK_UNKNOWN ? HARNESS_STACK : write_word(harness_stack_used);
}

/* All lanes share x and y: a model that kept a pointer to either would be found out. */
static int call_lane(const lane *at, uint32_t offset)
{
    uint8_t *x = (uint8_t *)harness_x + offset;
    uint8_t *y = (uint8_t *)harness_y + offset;
    if (port_read(x, at->function->x_bytes) != 0) {
        return HARNESS_SHORT_INPUT;
    }
    fill(y, at->function->y_bytes, POISON);
    guard(y + at->function->y_bytes);
    at->function->call(at->state, x, y);
    return write_call(at, y);
}

static int run_part(const job *now)
{
    uint32_t frames;
    uint32_t offset = (now->flags & FLAG_MISALIGNED) ? 1u : 0u;
    if (port_read(&frames, sizeof frames) != 0) {
        return HARNESS_SHORT_INPUT;
    }
    int code = choose_functions(now->lanes);
    for (uint32_t t = 0; t < frames && code == HARNESS_OK; t++) {
        for (uint32_t i = 0; i < now->lanes && code == HARNESS_OK; i++) {
            code = call_lane(&lanes[i], offset);
        }
    }
    return code;
}

static int run_parts(const job *now)
{
    harness_measures_stack = now->kind == KIND_STACK;
    for (uint32_t i = 0; i < now->lanes; i++) {
        lanes[i].model->init(lanes[i].state);
    }
    for (uint32_t i = 0; i < now->parts; i++) {
        int code = run_part(now);
        if (code != HARNESS_OK) {
            return code;
        }
    }
    return HARNESS_OK;
}

static int run_selftests(const job *now)
{
    for (uint32_t i = 0; i < now->lanes; i++) {
        int code = write_word((uint32_t)lanes[i].model->selftest(lanes[i].state));
        if (code != HARNESS_OK) {
            return code;
        }
    }
    return HARNESS_OK;
}

static int run_job(void)
{
    job now;
    if (port_read(&now, sizeof now) != 0) {
        return HARNESS_SHORT_INPUT;
    }
    if (now.kind > KIND_SELFTEST || (now.flags & ~FLAG_MISALIGNED) != 0) {
        return HARNESS_UNKNOWN_KIND;
    }
    int code = open_lanes(&now);
    if (code != HARNESS_OK) {
        return code;
    }
    return now.kind == KIND_SELFTEST ? run_selftests(&now) : run_parts(&now);
}

static int run_jobs(uint32_t jobs)
{
    for (uint32_t i = 0; i < jobs; i++) {
        int code = run_job();
        if (code != HARNESS_OK) {
            return code;
        }
    }
    return write_word(RESULTS_END);
}

int harness_main(void)
{
    uint32_t header[2]; /* magic, jobs */
    if (port_read(header, sizeof header) != 0) {
        return HARNESS_SHORT_INPUT;
    }
    if (header[0] != JOBS_MAGIC) {
        return HARNESS_BAD_MAGIC;
    }
    int code = write_word(RESULTS_MAGIC);
    return code != HARNESS_OK ? code : run_jobs(header[1]);
}
