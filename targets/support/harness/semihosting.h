/* The port of the harness to a debugger's or an emulator's semihosting: streams are files. */
#ifndef STEPCELL_SEMIHOSTING_H
#define STEPCELL_SEMIHOSTING_H

#include <stdint.h>

#define SEMIHOSTING_FAULT_EXIT 99

/* What a fault handler knows: four words that run/faults.py reads. */
typedef struct {
    uint32_t exception;
    uint32_t pc;
    uint32_t caller; /* the return address at the fault */
    uint32_t detail; /* Cortex-M: CFSR; RISC-V: mtval */
} semihosting_report;

/* Make one call; every architecture has its own instruction for it. */
uintptr_t semihosting_call(uintptr_t operation, const uintptr_t *arguments);

/* Run the harness over the files stepcell.in and stepcell.out, and end the emulation with its code.
 */
void semihosting_main(void);

/* Write stepcell.fault and end the emulation with SEMIHOSTING_FAULT_EXIT. */
void semihosting_fault(const semihosting_report *report);

#endif
