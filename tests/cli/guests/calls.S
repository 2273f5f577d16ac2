# SPDX-License-Identifier: Apache-2.0
# Makes a thousand hypercalls from one site and ends.
        .equ    TRAPLINE_HC_PING, 4096

        .text
        .globl  _start
_start:
        mov     $1000, %edi
ping_loop:
        mov     $TRAPLINE_HC_PING, %eax
        mov     %rdi, %rbx
        vmcall
        dec     %edi
        jnz     ping_loop
        jmp     exit_well

        .include "serial.inc"
