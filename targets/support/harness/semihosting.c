#include "semihosting.h"

#include "harness.h"
#include "port.h"

enum {
    SYS_OPEN = 0x01,
    SYS_CLOSE = 0x02,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_EXIT_EXTENDED = 0x20,
};
enum { MODE_READ = 1, MODE_WRITE = 5 }; /* "rb", "wb" */

#define APPLICATION_EXIT 0x20026u

static uintptr_t jobs_file;
static uintptr_t results_file;

static uintptr_t open_file(const char *name, uintptr_t name_bytes, uintptr_t mode)
{
    const uintptr_t arguments[3] = {(uintptr_t)name, mode, name_bytes};
    return semihosting_call(SYS_OPEN, arguments);
}

static void close_file(uintptr_t file)
{
    (void)semihosting_call(SYS_CLOSE, &file);
}

static void end_emulation(int code)
{
    const uintptr_t arguments[2] = {APPLICATION_EXIT, (uintptr_t)code};
    for (;;) {
        (void)semihosting_call(SYS_EXIT_EXTENDED, arguments);
    }
}

/* SYS_READ and SYS_WRITE return the bytes that they did not transfer. */
int port_read(void *to, uint32_t bytes)
{
    const uintptr_t arguments[3] = {jobs_file, (uintptr_t)to, bytes};
    return semihosting_call(SYS_READ, arguments) == 0 ? 0 : -1;
}

int port_write(const void *from, uint32_t bytes)
{
    const uintptr_t arguments[3] = {results_file, (uintptr_t)from, bytes};
    return semihosting_call(SYS_WRITE, arguments) == 0 ? 0 : -1;
}

void semihosting_main(void)
{
    jobs_file = open_file("stepcell.in", 11, MODE_READ);
    results_file = open_file("stepcell.out", 12, MODE_WRITE);
    int code = harness_main();
    close_file(results_file);
    close_file(jobs_file);
    end_emulation(code);
}

void semihosting_fault(const semihosting_report *report)
{
    uintptr_t file = open_file("stepcell.fault", 14, MODE_WRITE);
    const uintptr_t arguments[3] = {file, (uintptr_t)report, sizeof *report};
    (void)semihosting_call(SYS_WRITE, arguments);
    close_file(file);
    end_emulation(SEMIHOSTING_FAULT_EXIT);
}
