/* Dense row groups, two rows a register (sc_thumb2_swar.h). SPDX-License-Identifier: Apache-2.0
 *
 * Two columns of four rows take 10 instructions, eight times that a loop 2 more, a row group 15 and a call 28.
 * x is int32_t; a row group has, for every two columns, [P01, P01', P23, P23'].
 */
#include "sc_isa.h"
#ifdef SC_HAS_MATVEC_SWAR_DENSE
#include "sc_thumb2_swar.h"

/* The frame below the saved registers. */
#define START 0
#define STRIDE 4   /* bytes */
#define BIAS 8     /* 2^15 for every two columns */
#define X 12
#define ACC 16
#define END 20     /* of acc */
#define ENTRY 24   /* where to enter the loop */
#define CURSOR 28
#define FRAME 32

#define UNROLL 8       /* two columns each */
#define TWO_COLUMNS 40 /* bytes of code */

.macro two_columns
    ldm.w r12!, {r4, r5}
    swar_four_rows
.endm

/* Beyond sc_thumb2_swar.h: r12 x, lr end of x. */
/* frame: 68 bytes */
function sc_matvec_swar_dense
    push {r4-r11, lr}
    sub sp, #FRAME
    ldr r4, [r0, #CURSOR_START]
    ldrh r5, [r0, #CURSOR_STRIDE]
    lsl r5, r5, #2
    strd r4, r5, [sp, #START]
    ldrh r6, [r0, #CURSOR_COLS]
    lsl r4, r6, #14
    strd r4, r1, [sp, #BIAS]
    add r3, r2, r3, lsl #2
    strd r2, r3, [sp, #ACC]
    ldr r11, [r0, #CURSOR_WEIGHTS]
    add lr, r1, r6, lsl #2
    mov r10, #0x8000
    @ the first round of the loop leaves out what makes the columns whole rounds
    lsr r6, r6, #1
    rsb r6, r6, #0
    and r6, r6, #UNROLL - 1
    mov r5, #TWO_COLUMNS
    adr r4, .Ldense_loop
    mla r4, r5, r6, r4
    add r4, r4, #1 @ Thumb
    strd r4, r0, [sp, #ENTRY]

.Ldense_group:
    ldrd r0, r1, [sp, #START]
    ldm r0, {r6-r9}
    add r0, r0, r1
    str r0, [sp, #START]
    ldrd r0, r12, [sp, #BIAS]
    sub r6, r6, r0
    sub r8, r8, r0
    ldr pc, [sp, #ENTRY]

    .balign 4
.Ldense_loop:
    .rept UNROLL
    two_columns
    .endr
    cmp r12, lr
    bne .Ldense_loop

    swar_end
    ldrd r0, r1, [sp, #ACC]
    stm r0!, {r6-r9}
    str r0, [sp, #ACC]
    cmp r0, r1
    bne .Ldense_group
    ldr r0, [sp, #CURSOR]
    ldr r1, [sp, #START]
    str r1, [r0, #CURSOR_START]
    str r11, [r0, #CURSOR_WEIGHTS]
    add sp, #FRAME
    pop {r4-r11, pc}
end_function sc_matvec_swar_dense
#endif
