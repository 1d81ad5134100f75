/* memcpy and memset by bytes: there is no libc.
 * In assembly: in C, a compiler may recognise the loop and call the function itself. */
__asm__(".section .text.memcpy, \"ax\", @progbits\n"
        ".global memcpy\n"
        ".type memcpy, @function\n"
        "memcpy:\n"
        "    add a2, a2, a0\n" /* the end */
        "    mv a3, a0\n"
        "    j 2f\n"
        "1:  lbu a4, 0(a1)\n"
        "    sb a4, 0(a3)\n"
        "    addi a1, a1, 1\n"
        "    addi a3, a3, 1\n"
        "2:  bne a3, a2, 1b\n"
        "    ret\n"
        ".size memcpy, . - memcpy\n");

__asm__(".section .text.memset, \"ax\", @progbits\n"
        ".global memset\n"
        ".type memset, @function\n"
        "memset:\n"
        "    add a2, a2, a0\n" /* the end */
        "    mv a3, a0\n"
        "    j 2f\n"
        "1:  sb a1, 0(a3)\n"
        "    addi a3, a3, 1\n"
        "2:  bne a3, a2, 1b\n"
        "    ret\n"
        ".size memset, . - memset\n");
