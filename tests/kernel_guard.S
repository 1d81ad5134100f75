/* uint32_t guarded_call(sc_matvec *kernel, sc_cursor *at, const void *x, int32_t *acc, unsigned rows);
 *
 * Calls a kernel with a number of its own in every register that the ABI makes it preserve, the stack pointer
 * in one of them. Returns 0 if all of them are back in place. */

#if defined(__thumb__)
    .syntax unified
    .thumb
#ifdef __ARM_FP
#define SAVED (10 * 4 + 8 * 8)
#else
#define SAVED (10 * 4)
#endif
    .section .text.guarded_call, "ax", %progbits
    .global guarded_call
    .type guarded_call, %function
    .thumb_func
guarded_call:
    push {r4-r7, lr}
    mov r4, r8
    mov r5, r9
    mov r6, r10
    mov r7, r11
    push {r4-r7}
    sub sp, #4
    mov r12, r0
    mov r0, r1
    mov r1, r2
    mov r2, r3
#ifdef __ARM_FP
    vpush {d8-d15}
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    movs r4, #\n
    vmov s\n, r4
    .endr
#endif
    .irp n, 8, 9, 10, 11
    movs r4, #\n
    mov r\n, r4
    .endr
    .irp n, 4, 5, 6
    movs r\n, #\n
    .endr
    mov r7, sp
    ldr r3, [sp, #SAVED]
    blx r12
    mov r0, sp
    eors r0, r7
    .irp n, 4, 5, 6
    movs r1, #\n
    eors r1, r\n
    orrs r0, r1
    .endr
    .irp n, 8, 9, 10, 11
    movs r1, #\n
    mov r2, r\n
    eors r1, r2
    orrs r0, r1
    .endr
#ifdef __ARM_FP
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    movs r1, #\n
    vmov r2, s\n
    eors r1, r2
    orrs r0, r1
    .endr
    vpop {d8-d15}
#endif
    add sp, #4
    pop {r4-r7}
    mov r8, r4
    mov r9, r5
    mov r10, r6
    mov r11, r7
    pop {r4-r7, pc}
    .size guarded_call, . - guarded_call

#elif defined(__riscv)
    .section .text.guarded_call, "ax", @progbits
    .global guarded_call
    .type guarded_call, @function
guarded_call:
    addi sp, sp, -64
    sw ra, 0(sp)
    sw s0, 4(sp)
    sw s1, 8(sp)
    mv t0, a0
    mv a0, a1
    mv a1, a2
    mv a2, a3
    mv a3, a4
    li s1, 1
#ifndef __riscv_32e
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    sw s\n, (4 + 4 * \n)(sp)
    li s\n, \n
    .endr
#endif
    mv s0, sp
    jalr t0
    xor a0, sp, s0
    xori s1, s1, 1
    or a0, a0, s1
#ifndef __riscv_32e
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    xori s\n, s\n, \n
    or a0, a0, s\n
    lw s\n, (4 + 4 * \n)(sp)
    .endr
#endif
    lw s1, 8(sp)
    lw s0, 4(sp)
    lw ra, 0(sp)
    addi sp, sp, 64
    ret
    .size guarded_call, . - guarded_call

#elif defined(__aarch64__)
    .section .text.guarded_call, "ax", %progbits
    .global guarded_call
    .type guarded_call, %function
guarded_call:
    sub sp, sp, #160
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    str x\n, [sp, #(8 * (\n - 19))]
    .endr
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    str d\n, [sp, #(96 + 8 * (\n - 8))]
    mov x9, #\n
    fmov d\n, x9
    .endr
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
    mov x\n, #\n
    .endr
    mov x9, x0
    mov x0, x1
    mov x1, x2
    mov x2, x3
    mov w3, w4
    mov x29, sp
    blr x9
    mov x0, sp
    eor x0, x0, x29
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28
    mov x1, #\n
    eor x1, x1, x\n
    orr x0, x0, x1
    .endr
    .irp n, 8, 9, 10, 11, 12, 13, 14, 15
    mov x1, #\n
    fmov x2, d\n
    eor x1, x1, x2
    orr x0, x0, x1
    ldr d\n, [sp, #(96 + 8 * (\n - 8))]
    .endr
    orr x0, x0, x0, lsr #32
    .irp n, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30
    ldr x\n, [sp, #(8 * (\n - 19))]
    .endr
    add sp, sp, #160
    ret
    .size guarded_call, . - guarded_call

#elif defined(__AVR__)
    .section .text.guarded_call, "ax", @progbits
    .global guarded_call
    .type guarded_call, @function
guarded_call:
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 28, 29
    push r\n
    .endr
    movw r30, r24
    movw r24, r22
    movw r22, r20
    movw r20, r18
    movw r18, r16
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
    ldi r26, \n
    mov r\n, r26
    .endr
    in r28, 0x3d /* the stack pointer */
    in r29, 0x3e
#ifdef __AVR_HAVE_EIJMP_EICALL__
    eicall
#else
    icall
#endif
    mov r27, r1 /* 0 in C */
    .irp n, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17
    ldi r26, \n
    eor r26, r\n
    or r27, r26
    .endr
    in r26, 0x3d
    eor r26, r28
    or r27, r26
    in r26, 0x3e
    eor r26, r29
    or r27, r26
    mov r22, r27
    clr r1
    clr r23
    clr r24
    clr r25
    .irp n, 29, 28, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2
    pop r\n
    .endr
    ret
    .size guarded_call, . - guarded_call

#else
#error "this architecture's registers are not known here"
#endif
