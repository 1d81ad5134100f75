/* The stack high-water mark. Leaf functions in assembly, so that measuring uses no stack but for its
 * return address, which lies where that of the measured function does.
 * Painted is all that lies between the data and the stack; a step that wrote the lowest byte of it
 * has an unknown depth. */
#include "port.h"

#define PAINT "0x5a"

__asm__(".section .text.port_stack_mark, \"ax\", @progbits\n"
        ".global port_stack_mark\n"
        ".type port_stack_mark, @function\n"
        "port_stack_mark:\n"
        "    in r30, 0x3d\n"
        "    in r31, 0x3e\n"
        "    ldi r24, lo8(stepcell_stack_limit + 1)\n"
        "    ldi r25, hi8(stepcell_stack_limit + 1)\n"
        "    ldi r22, " PAINT "\n"
        "    adiw r30, 1\n" /* sp is the first free byte */
        "1:  st -Z, r22\n"
        "    cp r24, r30\n"
        "    cpc r25, r31\n"
        "    brlo 1b\n"
        "    ret\n"
        ".size port_stack_mark, . - port_stack_mark\n");

__asm__(".section .text.port_stack_used, \"ax\", @progbits\n"
        ".global port_stack_used\n"
        ".type port_stack_used, @function\n"
        "port_stack_used:\n"
        "    in r24, 0x3d\n"
        "    in r25, 0x3e\n"
        "    adiw r24, 4\n" /* above the return address: the caller's last used byte */
        "    ldi r30, lo8(stepcell_stack_limit + 1)\n"
        "    ldi r31, hi8(stepcell_stack_limit + 1)\n"
        "    ld r22, Z\n"
        "    cpi r22, " PAINT "\n"
        "    brne 3f\n"
        "1:  ld r22, Z+\n"
        "    cp r24, r30\n"
        "    cpc r25, r31\n"
        "    brlo 2f\n"
        "    cpi r22, " PAINT "\n"
        "    breq 1b\n"
        "2:  sbiw r30, 1\n" /* the lowest byte that is not paint */
        "    sub r24, r30\n"
        "    sbc r25, r31\n"
        "    movw r22, r24\n"
        "    clr r24\n"
        "    clr r25\n"
        "    ret\n"
        "3:  ldi r22, 0xff\n" /* PORT_STACK_UNKNOWN */
        "    ldi r23, 0xff\n"
        "    ldi r24, 0xff\n"
        "    ldi r25, 0xff\n"
        "    ret\n"
        ".size port_stack_used, . - port_stack_used\n");
