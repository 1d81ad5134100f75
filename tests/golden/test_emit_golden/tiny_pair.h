/* tiny_pair: a recurrent network as C, made by stepcell VERSION. Do not edit: regenerate it.
 */
#ifndef TINY_PAIR_H
#define TINY_PAIR_H

#include "stepcell.h"

#if SC_RUNTIME_VERSION != 1 || SC_NUMERICS_VERSION != 1
#error "tiny_pair was generated for another stepcell runtime: regenerate it, or use the runtime beside it"
#endif

/* Define these to place the tables, the code or a state, in QSPI flash or tightly coupled memory for example. */
#ifndef TINY_PAIR_WEIGHTS_ATTR
#define TINY_PAIR_WEIGHTS_ATTR SC_FLASH
#endif
#ifndef TINY_PAIR_CODE_ATTR
#define TINY_PAIR_CODE_ATTR
#endif
#ifndef TINY_PAIR_STATE_ATTR
#define TINY_PAIR_STATE_ATTR
#endif

#define TINY_PAIR_ENCODER_X 1
#define TINY_PAIR_ENCODER_X_TOKENS 7 /* x is a token from 0 on, below this; others count as the nearest */
#define TINY_PAIR_DECODER_X 1
#define TINY_PAIR_DECODER_Y 2
#define TINY_PAIR_DECODER_Y_SCALE 3.27331509e-05f /* real y = y * scale */
#define TINY_PAIR_DECODER_X_TOKENS 7 /* x is a token from 0 on, below this; others count as the nearest */
#define TINY_PAIR_STATE_BYTES 8

typedef int16_t tiny_pair_encoder_x_t;
typedef int16_t tiny_pair_decoder_x_t;
typedef int16_t tiny_pair_decoder_y_t;

typedef struct tiny_pair_state {
    SC_ALIGNED int16_t h[4];
} tiny_pair_state;

typedef char tiny_pair_state_has_no_padding[sizeof(tiny_pair_state) == TINY_PAIR_STATE_BYTES ? 1 : -1];

#ifdef __cplusplus
extern "C" {
#endif

/* The state before the first frame of a sequence. One state serves one caller at a time. */
void tiny_pair_init(tiny_pair_state *s);

/* One step: x in, nothing out. All may have any alignment. */
void tiny_pair_encoder_step(tiny_pair_state *s, const tiny_pair_encoder_x_t x[TINY_PAIR_ENCODER_X]);

/* One step: x in, y out. All may have any alignment. */
void tiny_pair_decoder_step(tiny_pair_state *s, const tiny_pair_decoder_x_t x[TINY_PAIR_DECODER_X], tiny_pair_decoder_y_t y[TINY_PAIR_DECODER_Y]);

/* Checks known answers: 0 if they hold, else the number of the first frame that went wrong. */
int tiny_pair_selftest(void);

#ifdef __cplusplus
}
#endif

#endif
