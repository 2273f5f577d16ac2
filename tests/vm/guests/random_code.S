// SPDX-License-Identifier: Apache-2.0
// A quarter of a megabyte of random code, the same at every build.
.text
.balign 4096
.globl random_code, random_code_end
random_code:
    .set seed, 0x2545f4914f6cdd1d
    .rept 32768
    .set seed, seed * 6364136223846793005 + 1442695040888963407
    .quad seed ^ ((seed >> 29) & 0x7ffffffff)
    .endr
random_code_end:
.section .note.GNU-stack, "", @progbits
