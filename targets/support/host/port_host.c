/* The harness as a function over two buffers, for a shared library. */
#include "port_host.h"

#include <string.h>

#include "harness.h"
#include "port.h"

static const uint8_t *in_at;
static const uint8_t *in_end;
static uint8_t *out_at;
static uint8_t *out_end;

int port_read(void *to, uint32_t bytes)
{
    if ((size_t)(in_end - in_at) < bytes) {
        return -1;
    }
    memcpy(to, in_at, bytes);
    in_at += bytes;
    return 0;
}

int port_write(const void *from, uint32_t bytes)
{
    if ((size_t)(out_end - out_at) < bytes) {
        return -1;
    }
    memcpy(out_at, from, bytes);
    out_at += bytes;
    return 0;
}

void port_stack_mark(void)
{
}

uint32_t port_stack_used(void)
{
    return PORT_STACK_UNKNOWN;
}

int stepcell_harness(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t *out_bytes)
{
    in_at = in;
    in_end = in + in_bytes;
    out_at = out;
    out_end = out + *out_bytes;
    int code = harness_main();
    *out_bytes = (size_t)(out_at - out);
    return code;
}
