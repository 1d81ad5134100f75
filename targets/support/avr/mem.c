/* memcpy and memset by bytes, as elsewhere: there is no libc.
 * In assembly: in C, a compiler may recognise the loop and call the function itself. */
__asm__(".section .text.memcpy, \"ax\", @progbits\n"
        ".global memcpy\n"
        ".type memcpy, @function\n"
        "memcpy:\n" /* (r25:24 to, r23:22 from, r21:20 bytes) */
        "    movw r30, r22\n"
        "    movw r26, r24\n"
        "    rjmp 2f\n"
        "1:  ld r0, Z+\n"
        "    st X+, r0\n"
        "2:  subi r20, 1\n"
        "    sbci r21, 0\n"
        "    brcc 1b\n"
        "    ret\n"
        ".size memcpy, . - memcpy\n");

__asm__(".section .text.memset, \"ax\", @progbits\n"
        ".global memset\n"
        ".type memset, @function\n"
        "memset:\n"
        "    movw r26, r24\n"
        "    rjmp 2f\n"
        "1:  st X+, r22\n"
        "2:  subi r20, 1\n"
        "    sbci r21, 0\n"
        "    brcc 1b\n"
        "    ret\n"
        ".size memset, . - memset\n");
