# SPDX-License-Identifier: Apache-2.0
# Says hello and ends.
        .text
        .globl  _start
_start:
        lea     greeting(%rip), %rsi
        call    put_text
        jmp     exit_well

        .include "serial.inc"

greeting:
        .asciz  "hello from the guest\r\n"
