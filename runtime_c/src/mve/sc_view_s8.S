/* The int8 view of an int16 vector. SPDX-License-Identifier: Apache-2.0
 *
 * min(127, (v + 128) >> 8) is a rounding shift that saturates to int8. Both loops are predicated by what is
 * left, so that neither reads nor writes more: 4 instructions for 8 elements, 2 for 16 zeros, a call 8.
 */
#include "sc_isa.h"
#ifdef SC_HAS_VIEW_S8
    .syntax unified
    .thumb
    .section .text.sc_view_s8, "ax", %progbits
    .balign 4
    .global sc_view_s8
    .type sc_view_s8, %function

/* frame: 8 bytes */
    .thumb_func
sc_view_s8:
    push {r7, lr}
    sub r3, r3, r2  /* zeros */
    add r12, r0, r2
    wlstp.16 lr, r2, 2f
1:  vldrh.u16 q0, [r1], #16
    vqrshrnb.s16 q0, q0, #8
    vstrb.16 q0, [r0], #8
    letp lr, 1b
2:  vmov.i8 q0, #0
    wlstp.8 lr, r3, 4f
3:  vstrb.8 q0, [r12], #16
    letp lr, 3b
4:  pop {r7, pc}
    .size sc_view_s8, . - sc_view_s8
#endif
