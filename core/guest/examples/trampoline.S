// SPDX-License-Identifier: Apache-2.0
// Where a start-up IPI leads: from real mode at 0x8000 straight to 64-bit mode over the boot processor's page tables (core/machine/
// loader/boot_layout.h: page tables at 0x9000, GDT at 0x1000 with 64-bit code at 0x10).
.equ kBase, 0x8000
.equ kPageTables, 0x9000
.section .rodata
.code16
.globl trampoline_start, trampoline_end
trampoline_start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov $0x20, %eax               // CR4.PAE
    mov %eax, %cr4
    mov $kPageTables, %eax
    mov %eax, %cr3
    mov $0xc0000080, %ecx         // EFER.LME
    rdmsr
    or $0x100, %eax
    wrmsr
    lgdtl kBase + (gdt_pointer - trampoline_start)
    mov %cr0, %eax
    or $0x80000001, %eax          // PG and PE at once
    mov %eax, %cr0
    ljmpl $0x10, $(kBase + (long_mode - trampoline_start))
.code64
long_mode:
    mov $0x18, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    movabs $trampoline_stack, %rax
    mov (%rax), %rsp
    movabs $ApMain, %rax
    call *%rax
.balign 8
gdt_pointer:
    .word 31
    .long 0x1000
trampoline_end:
.section .note.GNU-stack, "", @progbits
