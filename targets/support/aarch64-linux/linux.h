#ifndef STEPCELL_LINUX_H
#define STEPCELL_LINUX_H

/* Run the harness over the files stepcell.in and stepcell.out, and end the process with its code. */
void linux_main(void);

#endif
