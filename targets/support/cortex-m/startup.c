/* Reset and faults, in assembly: compilers use the FPU in any C function, so it is enabled first.
 */
#include "semihosting.h"

__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .vectors, \"a\", %progbits\n"
        ".word stepcell_stack_top\n"
        ".word Reset_Handler\n"
        ".rept 14\n"
        ".word Fault_Handler\n"
        ".endr\n");

__asm__(".syntax unified\n"
        ".section .text.Reset_Handler, \"ax\", %progbits\n"
        ".global Reset_Handler\n"
        ".type Reset_Handler, %function\n"
        ".thumb_func\n"
        "Reset_Handler:\n"
#ifdef __ARM_FP
        "    ldr r0, =0xe000ed88\n" /* CPACR: full access to coprocessors 10 and 11 */
        "    ldr r1, [r0]\n"
        "    ldr r2, =0x00f00000\n"
        "    orrs r1, r1, r2\n"
        "    str r1, [r0]\n"
        "    dsb\n"
        "    isb\n"
#endif
        "    ldr r0, =stepcell_data_start\n"
        "    ldr r1, =stepcell_data_end\n"
        "    ldr r2, =stepcell_data_load\n"
        "    b 2f\n"
        "1:  ldr r3, [r2]\n"
        "    str r3, [r0]\n"
        "    adds r2, #4\n"
        "    adds r0, #4\n"
        "2:  cmp r0, r1\n"
        "    blo 1b\n"
        "    ldr r0, =stepcell_bss_start\n"
        "    ldr r1, =stepcell_bss_end\n"
        "    movs r2, #0\n"
        "    b 4f\n"
        "3:  str r2, [r0]\n"
        "    adds r0, #4\n"
        "4:  cmp r0, r1\n"
        "    blo 3b\n"
        "    bl semihosting_main\n"
        "    .pool\n"
        ".size Reset_Handler, . - Reset_Handler\n");

/* The stacked frame holds r0-r3, r12, lr, pc and the status register. */
__asm__(".syntax unified\n"
        ".section .text.Fault_Handler, \"ax\", %progbits\n"
        ".global Fault_Handler\n"
        ".type Fault_Handler, %function\n"
        ".thumb_func\n"
        "Fault_Handler:\n"
        "    mrs r0, msp\n"
        "    mrs r1, ipsr\n"
        "    bl semihosting_fault\n"
        ".size Fault_Handler, . - Fault_Handler\n");
