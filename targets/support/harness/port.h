/* What the harness needs from the machine below it: two byte streams and a view of the stack. */
#ifndef STEPCELL_PORT_H
#define STEPCELL_PORT_H

#include <stdint.h>

/* Read exactly `bytes` from the job stream, or write them to the result stream; 0 on success. */
int port_read(void *to, uint32_t bytes);
int port_write(const void *from, uint32_t bytes);

/* Paint the free stack below the caller's frame. */
void port_stack_mark(void);

#define PORT_STACK_UNKNOWN UINT32_MAX
/* Bytes below the marked frame that were written since; PORT_STACK_UNKNOWN where it cannot be told.
 * Called from the frame that marked, so its own cost must not touch the painted stack. */
uint32_t port_stack_used(void);

#endif
