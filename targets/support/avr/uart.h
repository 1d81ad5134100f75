#ifndef STEPCELL_UART_H
#define STEPCELL_UART_H

/* Run the harness over the jobs behind the program in flash, write its results to UART0, and stop. */
void uart_main(void);

#endif
