/* memcpy and memset by bytes: there is no libc.
 * In assembly: in C, a compiler may recognise the loop and call the function itself. */
__asm__(".section .text.memcpy, \"ax\", %progbits\n"
        ".global memcpy\n"
        ".type memcpy, %function\n"
        "memcpy:\n"
        "    mov x3, #0\n"
        "    b 2f\n"
        "1:  ldrb w4, [x1, x3]\n"
        "    strb w4, [x0, x3]\n"
        "    add x3, x3, #1\n"
        "2:  cmp x3, x2\n"
        "    b.ne 1b\n"
        "    ret\n"
        ".size memcpy, . - memcpy\n");

__asm__(".section .text.memset, \"ax\", %progbits\n"
        ".global memset\n"
        ".type memset, %function\n"
        "memset:\n"
        "    mov x3, #0\n"
        "    b 2f\n"
        "1:  strb w1, [x0, x3]\n"
        "    add x3, x3, #1\n"
        "2:  cmp x3, x2\n"
        "    b.ne 1b\n"
        "    ret\n"
        ".size memset, . - memset\n");
