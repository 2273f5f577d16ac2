// SPDX-License-Identifier: Apache-2.0
// The machine around it: descriptors where Linux has them, page tables, and a HLT for each vector,
// where the processor ends whatever happened.
#include "tests/differential/soft_cpu.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "core/x86/exceptions.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"

namespace trapline::differential {
namespace {

// Guest-physical memory.
constexpr uint64_t kRamSize = 1 << 20;
constexpr uint64_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kStubs = 0x4000, kStackTop = 0x6000,
                   kTables = 0x10000, kCodePages = 0x40000, kMemoryPages = 0x60000;
// What the supervisor needs is mapped in the upper half, as a kernel has it.
constexpr uint64_t kSupervisor = 0xffff800000000000, kSupervisorSize = 0x8000;
constexpr uint16_t kTssSelector = 0x40;

// As Linux fills its GDT (arch/x86/kernel/cpu/common.c): selectors that LAR and its like look at.
constexpr uint64_t kDescriptors[] = {
    0,
    0x00cf9b000000ffff,  // 08 kernel code, 32 bits
    0x00af9b000000ffff,  // 10 kernel code
    0x00cf93000000ffff,  // 18 kernel data
    0x00cffb000000ffff,  // 20 user code, 32 bits
    0x00cff3000000ffff,  // 28 user data
    0x00affb000000ffff,  // 30 user code
    0,
    0x00008b0030000067,  // 40 TSS
    0xffff8000,
};
constexpr uint16_t kGdtLimit = 127;

x86::Segment Descriptor(uint16_t selector, bool flat) {
  uint64_t d = kDescriptors[selector / 8];
  if (selector < 4) return {selector, 0, 0, 0};
  return {selector, static_cast<uint16_t>((d >> 40) & 0xf0ff), flat ? 0xffffffff : 0, 0};
}

}  // namespace

SoftCpu::SoftCpu(uint64_t fs_base) : fs_base_(fs_base), next_table_(kTables) {
  void* memory =
      mmap(nullptr, kRamSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ram_ = static_cast<std::byte*>(memory);
  region_ = {0, kRamSize, ram_};
  BuildTables();
  engine_ = engine::CreateSoftEngine({&region_, 1}, {1, 1'000'000'000}).value();
  vcpu_ = engine_->CreateVcpu(0, host_).value();
}

SoftCpu::~SoftCpu() {
  vcpu_.reset();
  engine_.reset();
  munmap(ram_, kRamSize);
}

void SoftCpu::Map(uint64_t linear, uint64_t physical, uint64_t size, uint64_t flags) {
  using namespace x86::pte;
  auto entry_at = [this](uint64_t table, uint64_t index) {
    return reinterpret_cast<uint64_t*>(ram_ + table) + index;
  };
  for (uint64_t at = 0; at < size; at += x86::kPageSize) {
    uint64_t table = kTables;
    for (unsigned shift = 39; shift > 12; shift -= 9) {
      uint64_t* entry = entry_at(table, ((linear + at) >> shift) & 511);
      if (*entry == 0) *entry = (next_table_ += x86::kPageSize) | kPresent | kWritable | kUser;
      table = *entry & ~x86::kPageMask;
    }
    *entry_at(table, ((linear + at) >> 12) & 511) = (physical + at) | kPresent | flags;
  }
}

void SoftCpu::BuildTables() {
  using namespace x86::pte;
  std::memcpy(ram_ + kGdt, kDescriptors, sizeof kDescriptors);
  constexpr uint64_t kStack0 = kSupervisor + kStackTop;
  std::memcpy(ram_ + kTss + 4, &kStack0, sizeof kStack0);
  // No permission bitmap: it would begin behind the segment's limit.
  constexpr uint16_t kNoBitmap = 0x68;
  std::memcpy(ram_ + kTss + 0x66, &kNoBitmap, sizeof kNoBitmap);
  for (uint64_t vector = 0; vector < 256; ++vector) {
    uint64_t stub = kStubs + vector;
    ram_[stub] = kFiller;
    // INT3 and INTO are open to user mode, the others are not.
    bool open = vector == static_cast<uint64_t>(x86::Vector::kBreakpoint) ||
                vector == static_cast<uint64_t>(x86::Vector::kOverflow);
    uint64_t gate[2] = {stub | 0x10 << 16 | uint64_t{open ? 0xeeu : 0x8eu} << 40,
                        kSupervisor >> 32};
    std::memcpy(ram_ + kIdt + 16 * vector, gate, sizeof gate);
  }
  Map(kSupervisor, 0, kSupervisorSize, kWritable);
  Map(kCode, kCodePages, kCodeSize, kUser);
  auto piece = [this](uint64_t address, uint64_t size, uint64_t flags) {
    Map(address, kMemoryPages + (address - kMemory), size, kUser | kNoExecute | flags);
  };
  piece(kStack, kHole - kStack, kWritable);
  piece(kData, kDataSize, kWritable);
  piece(kReadOnly, kUnmapped - kReadOnly, 0);
}

x86::Registers SoftCpu::Start(const State& in) const {
  x86::Registers r;
  r.gpr = in.gpr;
  r.rip = in.rip;
  r.rflags = in.rflags;
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) r.segment[i] = Descriptor(0, false);
  r.segment[x86::kCs] = Descriptor(in.cs, true);
  r.segment[x86::kSs] = Descriptor(in.ss, true);
  r.segment[x86::kDs] = Descriptor(in.ds, true);
  r.segment[x86::kEs] = Descriptor(in.es, true);
  // Null selectors; their bases count in 64-bit mode alone.
  r.segment[x86::kFs].base = fs_base_;
  r.segment[x86::kGs].base = in.gs_base;
  r.cr0 = x86::cr0::kPe | x86::cr0::kMp | x86::cr0::kEt | x86::cr0::kNe | x86::cr0::kWp |
          x86::cr0::kAm | x86::cr0::kPg;
  r.cr3 = kTables;
  r.cr4 = x86::cr4::kPae | x86::cr4::kPge | x86::cr4::kOsfxsr | x86::cr4::kOsxmmexcpt |
          x86::cr4::kFsgsbase;
  r.efer = x86::efer::kSce | x86::efer::kLme | x86::efer::kLma | x86::efer::kNxe;
  r.gdtr = {kSupervisor + kGdt, kGdtLimit};
  r.idtr = {kSupervisor + kIdt, 0xfff};
  r.tr = {kTssSelector, 0x8b, 0x67, kSupervisor + kTss};
  r.dr[6] = 0xffff0ff0;
  r.dr[7] = 0x400;
  std::memcpy(r.fxsave.data(), in.fxsave.data(), in.fxsave.size());
  return r;
}

void SoftCpu::Load(std::span<const Instance> instances) {
  std::byte* code = ram_ + kCodePages;
  std::fill(code, code + kCodeSize, kFiller);
  for (const Instance& instance : instances) {
    uint64_t at = instance.in.rip - kCode;
    std::memcpy(code + at, instance.code.data(),
                std::min<uint64_t>(instance.length, kCodeSize - at));
  }
  engine_->InvalidateCode(kCodePages, kCodeSize);
}

std::string SoftCpu::Run(const Instance& instance, const Background& background, Outcome* outcome) {
  std::span<std::byte, kMemorySize> memory(ram_ + kMemoryPages, kMemorySize);
  Prepare(instance, background, memory);
  vcpu_->SetRegisters(Start(instance.in));
  engine::Exit exit = vcpu_->Run();
  x86::Registers r = vcpu_->GetRegisters();
  State& out = outcome->out;
  *outcome = Outcome{};
  out.gpr = r.gpr;
  out.ds = r.segment[x86::kDs].selector;
  out.es = r.segment[x86::kEs].selector;
  out.gs_base = r.segment[x86::kGs].base;
  std::memcpy(out.fxsave.data(), r.fxsave.data(), out.fxsave.size());
  std::copy(memory.begin(), memory.end(), outcome->memory.begin());
  if (exit.reason == engine::ExitReason::kTrap) {
    // An invalid opcode, on its way to becoming one.
    outcome->vector = static_cast<uint8_t>(x86::Vector::kInvalidOpcode);
    out.rip = r.rip;
    out.rflags = r.rflags | x86::rflags::kRf;
    out.cs = r.segment[x86::kCs].selector;
    out.ss = r.segment[x86::kSs].selector;
    return "";
  }
  if (exit.reason != engine::ExitReason::kHalt) {
    return exit.reason == engine::ExitReason::kShutdown ? "triple fault"
                                                        : "failure: " + exit.failure;
  }
  // HLT leaves RIP behind itself.
  uint64_t vector = r.rip - 1 - (kSupervisor + kStubs);
  if (vector > 255) return "stopped outside the interrupt handlers";
  outcome->vector = static_cast<uint8_t>(vector);
  bool has_error = x86::HasErrorCode(static_cast<x86::Vector>(outcome->vector));
  uint64_t frame[6] = {};
  size_t words = has_error ? 6 : 5;
  std::memcpy(frame + (6 - words), ram_ + kStackTop - words * 8, words * 8);
  outcome->error_code = static_cast<uint32_t>(frame[0]);
  out.rip = frame[1];
  out.cs = static_cast<uint16_t>(frame[2]);
  out.rflags = frame[3];
  out.gpr[x86::kRsp] = frame[4];
  out.ss = static_cast<uint16_t>(frame[5]);
  if (outcome->vector == static_cast<uint8_t>(x86::Vector::kPageFault))
    outcome->fault_address = r.cr2;
  return "";
}

}  // namespace trapline::differential
