# SPDX-License-Identifier: Apache-2.0
# Guests for the engine tests (machine.h). All but guest_handler are laid out for address 0x8000, which is also 0800:0000.
# Port 0xf0 logs.
.section .rodata

.macro begin name
.balign 16
.globl \name, \name\()_end
\name:
.endm
.macro end name
\name\()_end:
.endm
#define AT(guest, label) ((label) - (guest) + 0x8000)

# Behind each interrupt stub: rsp -> vector, error code, the processor's frame. Records them; then halts, returns, or goes elsewhere.
begin guest_handler
.code64
        push    %rax
        push    %rbx
        mov     0x6f00, %rax
        shl     $7, %rax
        lea     0x7000(%rax), %rbx
        mov     16(%rsp), %rax
        mov     %rax, (%rbx)            # vector
        mov     24(%rsp), %rax
        mov     %rax, 8(%rbx)           # error code
        mov     32(%rsp), %rax
        mov     %rax, 16(%rbx)          # RIP
        mov     40(%rsp), %rax
        mov     %rax, 24(%rbx)          # CS
        mov     48(%rsp), %rax
        mov     %rax, 32(%rbx)          # RFLAGS
        mov     56(%rsp), %rax
        mov     %rax, 40(%rbx)          # RSP
        mov     64(%rsp), %rax
        mov     %rax, 48(%rbx)          # SS
        mov     %cr2, %rax
        mov     %rax, 56(%rbx)
        lea     32(%rsp), %rax
        mov     %rax, 64(%rbx)          # where the frame is
        mov     %dr6, %rax
        mov     %rax, 72(%rbx)
        incq    0x6f00
        mov     0x6f08, %rax
        test    %rax, %rax
        jz      2f
        cmp     $1, %rax
        je      1f
        mov     %rax, 32(%rsp)
1:      pop     %rbx
        pop     %rax
        add     $16, %rsp
        iretq
2:      hlt
end guest_handler

# Real mode -> protected mode -> long mode -> compatibility mode -> protected mode -> real mode. Logs something in each.
begin guest_modes
.code16
        mov     $0xf0, %dx
        mov     %cs, %ax
        movzwl  %ax, %eax
        outl    %eax, %dx               # 0x800
        lgdtl   6f - guest_modes
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmpl   $0x40, $AT(guest_modes, 1f)
.code32
1:      mov     $0x10, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x80000032, %eax
        outl    %eax, %dx
        mov     $0x20000, %eax
        mov     %eax, %cr3
        mov     $0x20, %eax
        mov     %eax, %cr4
        mov     $0xc0000080, %ecx
        mov     $0x100, %eax
        push    %edx
        xor     %edx, %edx
        wrmsr
        pop     %edx
        mov     %cr0, %eax
        or      $0x80000000, %eax
        mov     %eax, %cr0
        mov     %edx, %ebx
        rdmsr
        mov     %ebx, %edx
        outl    %eax, %dx               # 0x500: LMA came with PG
        ljmp    $0x08, $AT(guest_modes, 2f)
.code64
2:      mov     $0x0123456789abcdef, %rax
        shr     $16, %rax
        outl    %eax, %dx               # 0x456789ab: only 64-bit code gets there
        push    $0x40
        push    $AT(guest_modes, 3f)
        lretq
.code32
3:      mov     $0x41, %eax
        .byte   0x40                    # inc %eax here, a prefix in 64-bit code
        nop
        outl    %eax, %dx               # 0x42
        mov     %cr0, %eax
        and     $0x7fffffff, %eax
        mov     %eax, %cr0
        mov     %edx, %ebx
        rdmsr
        mov     %ebx, %edx
        outl    %eax, %dx               # 0x100
        ljmp    $0x48, $AT(guest_modes, 4f)
.code16
4:      mov     %cr0, %eax
        and     $0xfe, %al
        mov     %eax, %cr0
        ljmp    $0x800, $5f - guest_modes
5:      mov     %cs, %ax
        mov     %ax, %ds
        mov     7f - guest_modes, %eax
        outl    %eax, %dx               # 0x16161616
        hlt
6:      .word   0xfff
        .long   0x1000
7:      .long   0x16161616
end guest_modes

# Starts in 32-bit protected mode; enters virtual-8086 mode, which calls INT 0x21 back into protected mode (at +0x80).
begin guest_virtual8086
.code32
        push    $0x4444                 # GS
        push    $0x3333                 # FS
        push    $0x800                  # DS
        push    $0x2222                 # ES
        push    $0x1000                 # SS
        push    $0xfff0                 # ESP
        push    $0x23002                # VM, IOPL 3
        push    $0x800
        push    $1f - guest_virtual8086
        iretl
.code16
1:      mov     2f - guest_virtual8086, %ax
        int     $0x21
        hlt
2:      .word   0xbeef
.org guest_virtual8086 + 0x80
.code32
        mov     $0xf0, %edx
        outl    %eax, %dx
        mov     $9, %ecx
        mov     %esp, %esi
3:      mov     %ss:(%esi), %eax        # EIP CS EFLAGS ESP SS ES DS FS GS
        outl    %eax, %dx
        add     $4, %esi
        loop    3b
        mov     %ds, %eax
        outl    %eax, %dx
        hlt
end guest_virtual8086

# Starts at CPL 3 in 32-bit protected mode, IOPL 3; calls through gate 0x58 with two parameters to +0x40 at CPL 0.
begin guest_call_gate
.code32
        push    $0x1111
        push    $0x2222
        lcall   $0x5b, $0
        mov     $0xf0, %edx
        mov     %esp, %eax
        outl    %eax, %dx
        mov     %cs, %eax
        outl    %eax, %dx
        ud2
.org guest_call_gate + 0x40
        mov     $0xf0, %edx
        mov     4(%esp), %eax           # CS
        outl    %eax, %dx
        mov     8(%esp), %eax
        outl    %eax, %dx
        mov     12(%esp), %eax
        outl    %eax, %dx
        mov     20(%esp), %eax          # SS
        outl    %eax, %dx
        mov     %cs, %eax
        outl    %eax, %dx
        lret    $8
end guest_call_gate

# Overwrites the operand of its next instruction, a hundred times; rbx: the sum of what was executed.
begin guest_patch_itself
.code64
        xor     %ebx, %ebx
        mov     $1, %ecx
1:      movb    %cl, 2f + 1(%rip)
2:      mov     $0xff, %al
        movzbl  %al, %eax
        add     %eax, %ebx
        inc     %ecx
        cmp     $101, %ecx
        jne     1b
        hlt
end guest_patch_itself

# Calls a function (at +0x40) that another vCPU rewrites, until it returns edi; tells what it saw last at 0x100000.
begin guest_patch_reader
.code64
        xor     %ebx, %ebx
1:      call    2f
        cmp     %ebx, %eax
        jb      3f                      # never an older one after a newer one
        mov     %eax, %ebx
        mov     %eax, 0x100000
        cmp     %edi, %eax
        jne     1b
        hlt
3:      ud2
.org guest_patch_reader + 0x43
2:      mov     $0, %eax                # the operand lies at +0x44
        ret
end guest_patch_reader

# Writes 1 to edi into that operand, each after the one before was seen.
begin guest_patch_writer
.code64
        mov     $1, %ecx
1:      mov     %ecx, 0x8044
2:      pause
        cmp     %ecx, 0x100000
        jne     2b
        inc     %ecx
        cmp     %edi, %ecx
        jbe     1b
        hlt
end guest_patch_writer

# Adds 1 to (rdi) rcx times in each of four locked ways.
begin guest_locked_adds
.code64
        mov     $1, %r8d
1:      lock incl (%rdi)
        mov     $1, %eax
        lock xadd %eax, (%rdi)
        lock addl $1, (%rdi)
        mov     (%rdi), %eax
2:      lea     1(%eax), %edx
        lock cmpxchg %edx, (%rdi)
        jne     2b
        dec     %rcx
        jnz     1b
        hlt
end guest_locked_adds

# Counts at (rdi) for ever.
begin guest_counter
.code64
1:      incq    (%rdi)
        jmp     1b
end guest_counter

# SYSCALL to +0x80, which looks at its own GS and comes back.
begin guest_syscall
.code64
        mov     $7, %eax
        syscall
1:      ud2
.org guest_syscall + 0x80
        swapgs
        mov     %gs:0, %rbx
        pushfq
        pop     %rsi
        mov     %cs, %edi
        mov     %ss, %ebp
        swapgs
        add     $90, %eax
        sysretq
end guest_syscall

.section .note.GNU-stack, "", @progbits
