# SPDX-License-Identifier: Apache-2.0
# Makes hypercalls from three sites without end: one busy, one a sixteenth as much, one seldom.
        .equ    TRAPLINE_HC_PING, 4096
        .equ    TRAPLINE_HC_CLOCK, 4098
        .equ    TRAPLINE_HC_ENTROPY, 4102

        .text
        .globl  _start
_start:
        lea     prompt(%rip), %rsi
        call    put_text
        xor     %edi, %edi
again:
        inc     %edi
        mov     $TRAPLINE_HC_PING, %eax
        mov     $42, %ebx
        .globl  busy_site
busy_site:
        vmcall
        test    $0xf, %edi
        jnz     again
        mov     $TRAPLINE_HC_CLOCK, %eax
        .globl  steady_site
steady_site:
        vmcall
        test    $0xfffff, %edi
        jnz     again
        mov     $TRAPLINE_HC_ENTROPY, %eax
        .globl  seldom_site
seldom_site:
        vmcall
        jmp     again

        .include "serial.inc"

prompt:
        .asciz  "sites>"
