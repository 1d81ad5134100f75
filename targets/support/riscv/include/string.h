/* The two functions that a compiler may call without a libc; mem.c has them. */
#ifndef STEPCELL_STRING_H
#define STEPCELL_STRING_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);

#endif
