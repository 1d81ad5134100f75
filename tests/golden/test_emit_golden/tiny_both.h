/* tiny_both: a recurrent network as C, made by stepcell VERSION. Do not edit: regenerate it.
 */
#ifndef TINY_BOTH_H
#define TINY_BOTH_H

#include "stepcell.h"

#if SC_RUNTIME_VERSION != 1 || SC_NUMERICS_VERSION != 1
#error "tiny_both was generated for another stepcell runtime: regenerate it, or use the runtime beside it"
#endif

/* Define these to place the tables, the code or a state, in QSPI flash or tightly coupled memory for example. */
#ifndef TINY_BOTH_WEIGHTS_ATTR
#define TINY_BOTH_WEIGHTS_ATTR SC_FLASH
#endif
#ifndef TINY_BOTH_CODE_ATTR
#define TINY_BOTH_CODE_ATTR
#endif
#ifndef TINY_BOTH_STATE_ATTR
#define TINY_BOTH_STATE_ATTR
#endif

#define TINY_BOTH_X 3
#define TINY_BOTH_Y 2
#define TINY_BOTH_X_SCALE 0.029702954f /* real x = x * scale */
#define TINY_BOTH_Y_SCALE 5.30541765e-05f /* real y = y * scale */
#define TINY_BOTH_MAX_STEPS 20 /* of one call of tiny_both_run */
#define TINY_BOTH_STATE_BYTES 336
#define TINY_BOTH_STACK_BYTES 104 /* at most, of one call of tiny_both_run */
#define TINY_BOTH_STEP_INSTRUCTIONS 1440 /* of one step of a run on cortex-m4, by its cost table; `stepcell profile` counts exactly */

typedef int8_t tiny_both_x_t;
typedef int16_t tiny_both_y_t;

typedef struct tiny_both_state {
    SC_ALIGNED int16_t forward_next[80]; /* what a stage leaves for later ones, step by step */
    int16_t backward_next[80]; /* what a stage leaves for later ones, step by step */
    int16_t forward_h[4];
    int16_t backward_h[4];
} tiny_both_state;

typedef char tiny_both_state_has_no_padding[sizeof(tiny_both_state) == TINY_BOTH_STATE_BYTES ? 1 : -1];

#ifdef __cplusplus
extern "C" {
#endif

/* The state before the first frame of a sequence. One state serves one caller at a time. */
void tiny_both_init(tiny_both_state *s);

/* A whole sequence of at most TINY_BOTH_MAX_STEPS steps (what is beyond is left out), which begins at the
 * states as they are and leaves them as the sequence does: call tiny_both_init before each independent one.
 * x: in, [steps][TINY_BOTH_X].
 * y: out, [steps][TINY_BOTH_Y].
 * All may have any alignment. */
void tiny_both_run(tiny_both_state *s, const tiny_both_x_t *x, uint16_t steps, tiny_both_y_t *y);

/* Checks known answers, in any state, which it overwrites: 0 if they hold, else the number of the first that does not. */
int tiny_both_selftest(tiny_both_state *s);

#ifdef __cplusplus
}
#endif

#endif
