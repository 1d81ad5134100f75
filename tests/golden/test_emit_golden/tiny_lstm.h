/* tiny_lstm: a recurrent network as C, made by stepcell VERSION. Do not edit: regenerate it.
 */
#ifndef TINY_LSTM_H
#define TINY_LSTM_H

#include "stepcell.h"

#if SC_RUNTIME_VERSION != 1 || SC_NUMERICS_VERSION != 1
#error "tiny_lstm was generated for another stepcell runtime: regenerate it, or use the runtime beside it"
#endif

/* Define these to place the tables, the code or a state, in QSPI flash or tightly coupled memory for example. */
#ifndef TINY_LSTM_WEIGHTS_ATTR
#define TINY_LSTM_WEIGHTS_ATTR SC_FLASH
#endif
#ifndef TINY_LSTM_CODE_ATTR
#define TINY_LSTM_CODE_ATTR
#endif
#ifndef TINY_LSTM_STATE_ATTR
#define TINY_LSTM_STATE_ATTR
#endif

#define TINY_LSTM_X 3
#define TINY_LSTM_Y 4
#define TINY_LSTM_X_SCALE 0.122143149f /* real x = x * scale */
#define TINY_LSTM_Y_SCALE 3.05175781e-05f /* real y = y * scale */
#define TINY_LSTM_STATE_BYTES 48
#define TINY_LSTM_STACK_BYTES 104 /* at most, of one call of tiny_lstm_step */
#define TINY_LSTM_STEP_INSTRUCTIONS 3134 /* of one step on cortex-m4, by its cost table; `stepcell profile` counts exactly */

typedef int8_t tiny_lstm_x_t;
typedef int16_t tiny_lstm_y_t;

typedef struct tiny_lstm_state {
    SC_ALIGNED int16_t h3[6];
    int16_t c4[6];
    int16_t h7[6];
    int16_t c8[6];
} tiny_lstm_state;

typedef char tiny_lstm_state_has_no_padding[sizeof(tiny_lstm_state) == TINY_LSTM_STATE_BYTES ? 1 : -1];

#ifdef __cplusplus
extern "C" {
#endif

/* The state before the first frame of a sequence. One state serves one caller at a time. */
void tiny_lstm_init(tiny_lstm_state *s);

/* One frame in, one output out. x and y may have any alignment. */
void tiny_lstm_step(tiny_lstm_state *s, const tiny_lstm_x_t x[TINY_LSTM_X], tiny_lstm_y_t y[TINY_LSTM_Y]);

/* Checks known answers: 0 if they hold, else the number of the first frame that went wrong. */
int tiny_lstm_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
