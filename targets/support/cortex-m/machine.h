#ifndef STEPCELL_MACHINE_H
#define STEPCELL_MACHINE_H

#include <stdint.h>

/* Report a fault from the stacked frame (r0-r3, r12, lr, pc and the status register). */
void report_fault(const uint32_t frame[8], uint32_t exception);

#endif
