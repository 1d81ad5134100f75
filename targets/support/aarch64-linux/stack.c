/* The stack high-water mark. Leaf functions in assembly, so that measuring uses no stack itself:
 * sp is then the caller's, which is what the measured function starts from.
 * A painted word holds 0x5354434b. At most PAINTED bytes are painted: a step that wrote the lowest
 * of them has an unknown depth. */
#include "port.h"

#define PAINTED "0x10000"

__asm__(".section .text.port_stack_mark, \"ax\", %progbits\n"
        ".global port_stack_mark\n"
        ".type port_stack_mark, %function\n"
        "port_stack_mark:\n"
        "    mov x0, sp\n"
        "    mov x1, #" PAINTED "\n"
        "    sub x1, x0, x1\n"
        "    ldr w2, =0x5354434b\n"
        "1:  str w2, [x0, #-4]!\n"
        "    cmp x0, x1\n"
        "    b.hi 1b\n"
        "    ret\n"
        "    .pool\n"
        ".size port_stack_mark, . - port_stack_mark\n");

__asm__(".section .text.port_stack_used, \"ax\", %progbits\n"
        ".global port_stack_used\n"
        ".type port_stack_used, %function\n"
        "port_stack_used:\n"
        "    mov x0, sp\n"
        "    mov x1, #" PAINTED "\n"
        "    sub x1, x0, x1\n"
        "    ldr w2, =0x5354434b\n"
        "    ldr w3, [x1]\n"
        "    cmp w3, w2\n"
        "    b.ne 3f\n"
        "1:  add x1, x1, #4\n"
        "    cmp x1, x0\n"
        "    b.hs 2f\n"
        "    ldr w3, [x1]\n"
        "    cmp w3, w2\n"
        "    b.eq 1b\n"
        "2:  sub x0, x0, x1\n"
        "    ret\n"
        "3:  mov w0, #-1\n" /* PORT_STACK_UNKNOWN */
        "    ret\n"
        "    .pool\n"
        ".size port_stack_used, . - port_stack_used\n");
