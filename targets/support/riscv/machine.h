#ifndef STEPCELL_MACHINE_H
#define STEPCELL_MACHINE_H

#include <stdint.h>

/* Report a trap: the control registers mcause, mepc and mtval, and the return address at that time.
 */
void report_trap(uint32_t cause, uint32_t pc, uint32_t caller, uint32_t value);

#endif
