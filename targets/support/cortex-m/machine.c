/* The call of semihosting, and what a Cortex-M knows of a fault. */
#include "machine.h"

#include "semihosting.h"

uintptr_t semihosting_call(uintptr_t operation, const uintptr_t *arguments)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const uintptr_t *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void report_fault(const uint32_t frame[8], uint32_t exception)
{
#if defined(__ARM_ARCH_6M__)
    const uint32_t cfsr = 0; /* ARMv6-M has no fault status register */
#else
    const uint32_t cfsr = *(const volatile uint32_t *)0xe000ed28u;
#endif
    const semihosting_report report = {exception, frame[6], frame[5], cfsr};
    semihosting_fault(&report);
}
