/* The call of semihosting, and what a RISC-V core knows of a trap. */
#include "machine.h"

#include "semihosting.h"

/* An emulator knows the call by its three instructions, none of them compressed and all in one page.
 */
__asm__(".section .text.semihosting_call, \"ax\", @progbits\n"
        ".option push\n"
        ".option norvc\n"
        ".balign 16\n"
        ".global semihosting_call\n"
        ".type semihosting_call, @function\n"
        "semihosting_call:\n"
        "    slli zero, zero, 0x1f\n"
        "    ebreak\n"
        "    srai zero, zero, 7\n"
        "    ret\n"
        ".size semihosting_call, . - semihosting_call\n"
        ".option pop\n");

void report_trap(uint32_t cause, uint32_t pc, uint32_t caller, uint32_t value)
{
    const semihosting_report report = {cause, pc, caller, value};
    semihosting_fault(&report);
}
