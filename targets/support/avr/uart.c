/* The port of the harness to an AVR: jobs lie in flash behind the program, their length before them;
 * results leave UART0 as lines of hexadecimal. A line of ">" opens the results, one of "=" and the
 * harness's code closes them: simavr has no exit code, and a crash restarts the program. */
#include "uart.h"

#include <avr/io.h>
#include <avr/pgmspace.h>

#include "harness.h"
#include "port.h"

#define LINE_BYTES 32u
#define STACK_PAINT 0xa5u
#define CHARACTER_CYCLES 96u /* ten bits of 8 cycles, and some */

extern const uint8_t stepcell_jobs[];
extern uint8_t stepcell_stack_limit[];

static uint_farptr_t jobs_at;
static uint_farptr_t jobs_end;
static uint8_t line_bytes;

/* Waits by time: simavr rests whenever the status of its UART is read, which makes it slow. */
static void put(char value)
{
    UDR0 = (uint8_t)value;
    __builtin_avr_delay_cycles(CHARACTER_CYCLES);
}

static void put_digit(uint8_t value)
{
    put((char)(value < 10u ? '0' + value : 'a' - 10 + value));
}

static void put_byte(uint8_t value)
{
    put_digit(value >> 4);
    put_digit(value & 15u);
}

static void end_line(void)
{
    put('\n');
    line_bytes = 0;
}

int port_read(void *to, uint32_t bytes)
{
    uint8_t *out = to;
    if (jobs_end - jobs_at < bytes) {
        return -1;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        out[i] = pgm_read_byte_far(jobs_at++);
    }
    return 0;
}

int port_write(const void *from, uint32_t bytes)
{
    const uint8_t *in = from;
    for (uint32_t i = 0; i < bytes; i++) {
        put_byte(in[i]);
        if (++line_bytes == LINE_BYTES) {
            end_line();
        }
    }
    return 0;
}

/* Of what lies between the data and the stack, the last byte that the stack may take. */
static int stack_overflowed(void)
{
    return *(volatile uint8_t *)stepcell_stack_limit != STACK_PAINT;
}

void uart_main(void)
{
    *(volatile uint8_t *)stepcell_stack_limit = STACK_PAINT;
    UCSR0A = _BV(U2X0); /* 2 Mbaud at 16 MHz */
    UBRR0 = 0;
    UCSR0B = _BV(TXEN0);
    end_line(); /* of what came before a restart */
    put('>');
    end_line();
    const uint_farptr_t start = pgm_get_far_address(stepcell_jobs);
    jobs_at = start + 4u;
    jobs_end = jobs_at + pgm_read_dword_far(start);
    int code = harness_main();
    if (stack_overflowed()) {
        code = HARNESS_STACK_OVERFLOW;
    }
    end_line();
    put('=');
    put_byte((uint8_t)code);
    end_line();
    SMCR = _BV(SE);
    __asm__ volatile("cli\n\tsleep");
    for (;;) {
    }
}
