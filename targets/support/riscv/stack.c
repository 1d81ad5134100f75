/* The stack high-water mark. Leaf functions in assembly, so that measuring uses no stack itself:
 * sp is then the caller's, which is what the measured function starts from.
 * A painted word holds 0x5354434b. At most PAINTED bytes are painted: a step that wrote the lowest
 * of them has an unknown depth. */
#include "port.h"

#define PAINTED "0x8000"

/* a1: the lowest painted address. */
#define LOWEST                                                                                               \
    "    li a1, " PAINTED "\n"                                                                               \
    "    sub a1, sp, a1\n"                                                                                   \
    "    la a2, stepcell_stack_limit\n"                                                                      \
    "    bgeu a1, a2, 1f\n"                                                                                  \
    "    mv a1, a2\n"                                                                                        \
    "1:  li a2, 0x5354434b\n"

__asm__(".section .text.port_stack_mark, \"ax\", @progbits\n"
        ".global port_stack_mark\n"
        ".type port_stack_mark, @function\n"
        "port_stack_mark:\n" LOWEST "    mv a0, sp\n"
        "2:  addi a0, a0, -4\n"
        "    sw a2, 0(a0)\n"
        "    bltu a1, a0, 2b\n"
        "    ret\n"
        ".size port_stack_mark, . - port_stack_mark\n");

__asm__(".section .text.port_stack_used, \"ax\", @progbits\n"
        ".global port_stack_used\n"
        ".type port_stack_used, @function\n"
        "port_stack_used:\n" LOWEST "    lw a3, 0(a1)\n"
        "    bne a3, a2, 4f\n"
        "2:  addi a1, a1, 4\n"
        "    bgeu a1, sp, 3f\n"
        "    lw a3, 0(a1)\n"
        "    beq a3, a2, 2b\n"
        "3:  sub a0, sp, a1\n"
        "    ret\n"
        "4:  li a0, -1\n" /* PORT_STACK_UNKNOWN */
        "    ret\n"
        ".size port_stack_used, . - port_stack_used\n");
