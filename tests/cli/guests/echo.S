# SPDX-License-Identifier: Apache-2.0
# Says "echo>" and sends back what is typed, until a 'q'.
        .text
        .globl  _start
_start:
        lea     prompt(%rip), %rsi
        call    put_text
again:
        call    get_byte
        cmp     $'q', %bl
        je      exit_well
        call    put_byte
        jmp     again

        .include "serial.inc"

prompt:
        .asciz  "echo>"
