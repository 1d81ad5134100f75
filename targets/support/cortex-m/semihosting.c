/* The port of the harness to a debugger's or an emulator's semihosting: streams are files. */
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

static uintptr_t semihosting_call(uintptr_t operation, const uintptr_t *arguments)
{
    register uintptr_t r0 __asm__("r0") = operation;
    register const uintptr_t *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

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

void semihosting_fault(const uint32_t frame[8], uint32_t exception)
{
#if defined(__ARM_ARCH_6M__)
    const uint32_t cfsr = 0; /* ARMv6-M has no fault status register */
#else
    const uint32_t cfsr = *(const volatile uint32_t *)0xe000ed28u;
#endif
    const uint32_t report[4] = {exception, frame[6], frame[5], cfsr};
    uintptr_t file = open_file("stepcell.fault", 14, MODE_WRITE);
    const uintptr_t arguments[3] = {file, (uintptr_t)report, sizeof report};
    (void)semihosting_call(SYS_WRITE, arguments);
    close_file(file);
    end_emulation(SEMIHOSTING_FAULT_EXIT);
}
