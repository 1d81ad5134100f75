/* Runs jobs from a byte stream over the models of an image; run/wire.py documents the protocol. */
#ifndef STEPCELL_HARNESS_H
#define STEPCELL_HARNESS_H

#include <stdint.h>

/* Exit codes; run/faults.py gives each its sentence. */
enum {
    HARNESS_OK = 0,
    HARNESS_SHORT_INPUT = 10,
    HARNESS_BAD_MAGIC = 11,
    HARNESS_UNKNOWN_KIND = 12,
    HARNESS_UNKNOWN_MODEL = 13,
    HARNESS_LANES = 14,
    HARNESS_LAYOUT = 15,
    HARNESS_OVERRUN = 16,
    HARNESS_OUTPUT = 17,
    HARNESS_STACK = 18,
    HARNESS_STACK_OVERFLOW = 19
};

#define HARNESS_MAX_LANES 4u
#define HARNESS_GUARD_BYTES 8u

/* A step; or a run, whose x begins with the number of its steps. */
typedef struct {
    uint32_t x_bytes;
    uint32_t y_bytes;
    void (*call)(void *state, const uint8_t *x, uint8_t *y);
} harness_function;

typedef struct {
    uint32_t id; /* CRC-32 of the model's name */
    uint32_t state_bytes;
    uint32_t function_count;
    const harness_function *functions;
    void (*init)(void *state);
    int (*selftest)(void *state);
} harness_model;

extern const harness_model harness_models[];
extern const uint32_t harness_model_count;

/* Room for the largest model of the image. */
extern uint64_t harness_states[]; /* (HARNESS_MAX_LANES, harness_state_words) */
extern const uint32_t harness_state_words;
extern uint64_t harness_x[];
extern uint64_t harness_y[];

/* Whether each call paints the stack first, and what the last one used. */
extern uint32_t harness_measures_stack;
extern uint32_t harness_stack_used;

int harness_main(void);

#endif
