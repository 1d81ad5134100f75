/* Runs a compiled model on this computer: frames as text in, scores as text out.
 * SPDX-License-Identifier: Apache-2.0
 *
 * Each line of standard input is one frame of VOWELS_X real numbers; an empty line ends a sequence.
 * After each sequence the class with the highest score is printed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "vowels.h"
#include "vowels_float.h"

static int parse_frame(char *line, float frame[VOWELS_X])
{
    char *end = line;
    for (int i = 0; i < VOWELS_X; ++i) {
        line = end;
        frame[i] = strtof(line, &end);
        if (end == line)
            return 0;
    }
    return 1;
}

static int best_class(const vowels_state *state)
{
    vowels_y_t scores[VOWELS_Y];
    int best = 0;
    vowels_read(state, scores);
    for (int i = 1; i < VOWELS_Y; ++i)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

int main(void)
{
    static vowels_state state;
    char line[4096];
    int frames = 0;

    if (vowels_selftest() != 0) {
        fprintf(stderr, "self-test failed\n");
        return 1;
    }
    vowels_init(&state);
    while (fgets(line, sizeof line, stdin) != NULL) {
        float frame[VOWELS_X];
        vowels_x_t x[VOWELS_X];
        if (parse_frame(line, frame)) {
            vowels_quantize_input(frame, x);
            vowels_push(&state, x);
            ++frames;
        } else if (frames != 0) {
            printf("%d\n", best_class(&state));
            vowels_init(&state);
            frames = 0;
        }
    }
    if (frames != 0)
        printf("%d\n", best_class(&state));
    return 0;
}
