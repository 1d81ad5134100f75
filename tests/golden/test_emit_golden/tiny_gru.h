/* tiny_gru: a recurrent network as C, made by stepcell VERSION. Do not edit: regenerate it.
 */
#ifndef TINY_GRU_H
#define TINY_GRU_H

#include "stepcell.h"

#if SC_RUNTIME_VERSION != 1 || SC_NUMERICS_VERSION != 1
#error "tiny_gru was generated for another stepcell runtime: regenerate it, or use the runtime beside it"
#endif

/* Define these to place the tables, the code or a state, in QSPI flash or tightly coupled memory for example. */
#ifndef TINY_GRU_WEIGHTS_ATTR
#define TINY_GRU_WEIGHTS_ATTR SC_FLASH
#endif
#ifndef TINY_GRU_CODE_ATTR
#define TINY_GRU_CODE_ATTR
#endif
#ifndef TINY_GRU_STATE_ATTR
#define TINY_GRU_STATE_ATTR
#endif

#define TINY_GRU_X 3
#define TINY_GRU_Y 2
#define TINY_GRU_X_SCALE 0.0920400694f /* real x = x * scale */
#define TINY_GRU_Y_SCALE 3.09698989e-05f /* real y = y * scale */
#define TINY_GRU_STATE_BYTES 12
#define TINY_GRU_STACK_BYTES 80 /* at most, of one call of tiny_gru_step */
#define TINY_GRU_STEP_INSTRUCTIONS 1535 /* of one step on cortex-m4, by its cost table; `stepcell profile` counts exactly */

typedef int8_t tiny_gru_x_t;
typedef int16_t tiny_gru_y_t;

typedef struct tiny_gru_state {
    SC_ALIGNED int16_t h3[5];
    uint8_t sc_unused[2]; /* the struct has one size everywhere: an AVR aligns nothing */
} tiny_gru_state;

typedef char tiny_gru_state_has_no_padding[sizeof(tiny_gru_state) == TINY_GRU_STATE_BYTES ? 1 : -1];

#ifdef __cplusplus
extern "C" {
#endif

/* The state before the first frame of a sequence. One state serves one caller at a time. */
void tiny_gru_init(tiny_gru_state *s);

/* One frame in, one output out. x and y may have any alignment. */
void tiny_gru_step(tiny_gru_state *s, const tiny_gru_x_t x[TINY_GRU_X], tiny_gru_y_t y[TINY_GRU_Y]);

/* step in two halves: push every frame, read the output only when it is wanted. */
void tiny_gru_push(tiny_gru_state *s, const tiny_gru_x_t x[TINY_GRU_X]);
void tiny_gru_read(const tiny_gru_state *s, tiny_gru_y_t y[TINY_GRU_Y]);

/* Checks known answers: 0 if they hold, else the number of the first frame that went wrong. */
int tiny_gru_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
