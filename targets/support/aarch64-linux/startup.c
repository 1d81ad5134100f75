/* The first instructions of the process: a stack of the linker script's, so that its depth can be
 * painted, then the harness. The kernel has loaded .data and cleared .bss. */
#include "linux.h"

__asm__(".section .text._start, \"ax\", %progbits\n"
        ".global _start\n"
        ".type _start, %function\n"
        "_start:\n"
        "    adrp x0, stepcell_stack_top\n"
        "    add x0, x0, :lo12:stepcell_stack_top\n"
        "    mov sp, x0\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    b linux_main\n"
        ".size _start, . - _start\n");
