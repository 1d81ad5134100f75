#ifndef STEPCELL_PORT_HOST_H
#define STEPCELL_PORT_HOST_H

#include <stddef.h>
#include <stdint.h>

/* Run the jobs in `in`; `*out_bytes` is the room in `out`, then what was written. Returns a code of
 * harness.h. */
int stepcell_harness(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t *out_bytes);

#endif
