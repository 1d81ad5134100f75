/* The harness as a program over two files: `program jobs results`. For sanitizers, which end a
 * process. */
#include <stdio.h>

#include "harness.h"
#include "port.h"

static FILE *jobs;
static FILE *results;

int port_read(void *to, uint32_t bytes)
{
    return fread(to, 1, bytes, jobs) == bytes ? 0 : -1;
}

int port_write(const void *from, uint32_t bytes)
{
    return fwrite(from, 1, bytes, results) == bytes ? 0 : -1;
}

void port_stack_mark(void)
{
}

uint32_t port_stack_used(void)
{
    return PORT_STACK_UNKNOWN;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        return HARNESS_SHORT_INPUT;
    }
    jobs = fopen(argv[1], "rb");
    results = fopen(argv[2], "wb");
    if (jobs == NULL || results == NULL) {
        return HARNESS_SHORT_INPUT;
    }
    int code = harness_main();
    if (fclose(results) != 0 && code == HARNESS_OK) {
        code = HARNESS_OUTPUT;
    }
    (void)fclose(jobs);
    return code;
}
