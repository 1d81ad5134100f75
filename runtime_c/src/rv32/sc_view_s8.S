/* The int8 view of an int16 vector. SPDX-License-Identifier: Apache-2.0
 *
 * Instructions: 6.75 an element (9 of the last n mod 4), 3 a zero, 10 a call.
 */
#include "sc_isa.h"
#ifdef SC_HAS_VIEW_S8
#include "sc_rv32.h"

#define VIEW a0
#define FROM a1
#define PADDED_END a3
#define FOURS_END a4
#define END a5
#define LARGEST t0
#define V t1
#define T t2

/* min(127, (v + 128) >> 8): the shift gives -128..128, and one less where v is above 32639. */
.macro view number
    lh V, (2*\number)(FROM)
    slt T, LARGEST, V
    addi V, V, 128
    srai V, V, 8
    sub V, V, T
    sb V, (\number)(VIEW)
.endm

/* frame: 0 bytes */
function sc_view_s8
    add END, VIEW, a2
    add PADDED_END, VIEW, a3
    andi T, a2, 3
    sub FOURS_END, END, T
    li LARGEST, 32639
    beq VIEW, FOURS_END, .Lrest
.Lfour:
    view 0
    view 1
    view 2
    view 3
    addi VIEW, VIEW, 4
    addi FROM, FROM, 8
    bne VIEW, FOURS_END, .Lfour
.Lrest:
    beq VIEW, END, .Lpad
.Lone:
    view 0
    addi VIEW, VIEW, 1
    addi FROM, FROM, 2
    bne VIEW, END, .Lone
.Lpad:
    beq VIEW, PADDED_END, .Lend
.Lzero:
    sb zero, 0(VIEW)
    addi VIEW, VIEW, 1
    bne VIEW, PADDED_END, .Lzero
.Lend:
    ret
end_function sc_view_s8
#endif
