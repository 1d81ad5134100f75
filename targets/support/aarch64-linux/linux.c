/* The port of the harness to Linux system calls, without a libc: what is counted is the model's own.
 */
#include "linux.h"

#include "harness.h"
#include "port.h"

/* Of the kernel's asm-generic headers. */
enum { SYS_OPENAT = 56, SYS_CLOSE = 57, SYS_READ = 63, SYS_WRITE = 64, SYS_EXIT_GROUP = 94 };
enum { AT_FDCWD = -100, O_RDONLY = 0, O_WRONLY_CREAT_TRUNC = 01101, MODE = 0644 };

static long jobs_file;
static long results_file;

static long system_call(long number, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}

static long open_file(const char *name, long flags)
{
    return system_call(SYS_OPENAT, AT_FDCWD, (long)name, flags, MODE);
}

/* The kernel may transfer less than asked for. */
static int transfer(long operation, long file, const void *memory, uint32_t bytes)
{
    for (long done = 0; done < (long)bytes;) {
        long moved = system_call(operation, file, (long)memory + done, (long)bytes - done, 0);
        if (moved <= 0) {
            return -1;
        }
        done += moved;
    }
    return 0;
}

int port_read(void *to, uint32_t bytes)
{
    return transfer(SYS_READ, jobs_file, to, bytes);
}

int port_write(const void *from, uint32_t bytes)
{
    return transfer(SYS_WRITE, results_file, from, bytes);
}

void linux_main(void)
{
    jobs_file = open_file("stepcell.in", O_RDONLY);
    results_file = open_file("stepcell.out", O_WRONLY_CREAT_TRUNC);
    int code = harness_main();
    (void)system_call(SYS_CLOSE, results_file, 0, 0, 0);
    for (;;) {
        (void)system_call(SYS_EXIT_GROUP, code, 0, 0, 0);
    }
}
