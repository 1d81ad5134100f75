/* Dense layer: from accumulators to outputs. SPDX-License-Identifier: Apache-2.0
 *
 * 18 instructions a row and 29 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_DENSE_TAIL
#include "sc_thumb1.h"

/* sc_dense_layer */
#define DENSE_POST_HALF 24
#define DENSE_POST_SHIFT 28
#define DENSE_ROWS 32
#define DENSE_PRE_SHIFT 35
#define DENSE_LEAST 36

/* r0 the row, r1 is lost, r2 accumulators, r3 multipliers, r4 y, r5 rows left, r6 and r7 shifts before and
 * after the multiplier, r8 half of the latter, r9 -32767, r10 32767 - least, r11 least. */
/* frame: 36 bytes */
function sc_dense_tail
    save_registers
    mov r5, r3
    mov r3, r2
    mov r2, r1
    ldr r4, [sp, #SAVED]
    ldr r1, [r0, #DENSE_POST_HALF]
    mov r8, r1
    ldrb r7, [r0, #DENSE_POST_SHIFT]
    adds r0, #DENSE_ROWS @ loads reach 31 bytes
    ldrb r6, [r0, #DENSE_PRE_SHIFT - DENSE_ROWS]
    ldrh r0, [r0, #DENSE_LEAST - DENSE_ROWS]
    sxth r0, r0
    mov r11, r0
    ldr r1, .Ldense_most
    subs r0, r1, r0
    mov r10, r0
    rsbs r1, r1, #0
    mov r9, r1
.Ldense_row:
    @ |product| <= 2^29
    ldm r2!, {r0}
    asrs r0, r0, r6
    ldrh r1, [r3]
    muls r0, r1, r0
    add r0, r8
    asrs r0, r0, r7
    @ at most 32767, then at least least
    add r0, r9
    asrs r1, r0, #31
    ands r0, r1
    add r0, r10
    asrs r1, r0, #31
    bics r0, r1
    add r0, r11
    strh r0, [r4]
    adds r3, #2
    adds r4, #2
    subs r5, #1
    bne .Ldense_row
    restore_registers_and_return
    .balign 4
.Ldense_most:
    .word 32767
end_function sc_dense_tail
#endif
