# SPDX-License-Identifier: Apache-2.0
# Says "loop>" and makes hypercalls from one site until somebody stops it.
        .equ    TRAPLINE_HC_PING, 4096

        .text
        .globl  _start
_start:
        lea     prompt(%rip), %rsi
        call    put_text
again:
        mov     $TRAPLINE_HC_PING, %eax
        mov     $42, %ebx
        .globl  loop_site
loop_site:
        vmcall
        jmp     again

        .include "serial.inc"

prompt:
        .asciz  "loop>"
