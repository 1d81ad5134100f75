#ifndef STEPCELL_SEMIHOSTING_H
#define STEPCELL_SEMIHOSTING_H

#include <stdint.h>

#define SEMIHOSTING_FAULT_EXIT 99

/* Run the harness over the files stepcell.in and stepcell.out, and end the emulation with its code.
 */
void semihosting_main(void);

/* Write stepcell.fault (exception, pc, lr, CFSR) and end the emulation with SEMIHOSTING_FAULT_EXIT.
 */
void semihosting_fault(const uint32_t frame[8], uint32_t exception);

#endif
