/* Reset: no interrupt is ever enabled, so that of the vectors only the first exists. Between .init0
 * and .init9 lies libgcc's code that fills .data and clears .bss. */
#include "uart.h"

__asm__(".section .vectors, \"ax\", @progbits\n"
        "    jmp stepcell_reset\n");

__asm__(".section .init0, \"ax\", @progbits\n"
        ".global stepcell_reset\n"
        "stepcell_reset:\n"
        "    clr r1\n"
        "    out 0x3f, r1\n" /* SREG */
        "    out 0x3c, r1\n" /* EIND */
        "    out 0x3b, r1\n" /* RAMPZ */
        "    ldi r28, lo8(stepcell_stack_top)\n"
        "    ldi r29, hi8(stepcell_stack_top)\n"
        "    out 0x3e, r29\n"
        "    out 0x3d, r28\n");

__asm__(".section .init9, \"ax\", @progbits\n"
        "    jmp uart_main\n");
