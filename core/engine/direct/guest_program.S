// SPDX-License-Identifier: Apache-2.0
// The guest process's program (program/), as built, for program_image.cc.
.section .rodata
.globl trapline_guest_program, trapline_guest_program_end
.balign 16  // its headers are read where they stand
trapline_guest_program:
    .incbin TRAPLINE_GUEST_PROGRAM
trapline_guest_program_end:
.section .note.GNU-stack, "", @progbits
