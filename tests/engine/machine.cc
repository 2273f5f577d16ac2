// SPDX-License-Identifier: Apache-2.0
// The test machine's tables and handlers.
#include "tests/engine/machine.h"

#include <sys/mman.h>

namespace trapline::engine {
namespace {

constexpr uint64_t kDescriptors[] = {
    0,
    0x00af9b000000ffff,  // 08 code, 64 bits, DPL 0
    0x00cf93000000ffff,  // 10 data, DPL 0
    0x00cffb000000ffff,  // 18 code, 32 bits, DPL 3
    0x00cff3000000ffff,  // 20 data, DPL 3
    0x00affb000000ffff,  // 28 code, 64 bits, DPL 3
    0x0000890030000fff,  // 30 TSS at 0x3000
    0,
    0x00cf9b000000ffff,  // 40 code, 32 bits, DPL 0
    0x00009b000000ffff,  // 48 code, 16 bits
    0x000093000000ffff,  // 50 data, 16 bits
};

x86::Segment Segment(uint16_t selector) {
  uint64_t d = kDescriptors[selector / 8];
  auto attributes = static_cast<uint16_t>((d >> 40) & 0xf0ff);
  return {selector, attributes, 0xffffffff, 0};
}

}  // namespace

Machine::Machine(unsigned vcpus) {
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ram_ = static_cast<std::byte*>(memory);
  region_ = {0, kSize, ram_};
  engine_ = CreateSoftEngine({&region_, 1}, CpuConfig{vcpus, 1'000'000'000}).value();
  for (unsigned i = 0; i < vcpus; ++i) {
    hosts_.push_back(std::make_unique<TestHost>());
    vcpus_.push_back(engine_->CreateVcpu(i, *hosts_.back()).value());
  }
  BuildTables();
  BuildIdt();
}

Machine::~Machine() {
  vcpus_.clear();
  engine_.reset();
  munmap(ram_, kSize);
}

void Machine::BuildTables() {
  using namespace x86::pte;
  std::memcpy(ram_ + kGdt, kDescriptors, sizeof kDescriptors);
  Poke<uint64_t>(kTss + 4, kTssStack);
  Poke<uint64_t>(kTss + 0x24, kIstStack);
  Poke<uint16_t>(kTss + 0x66, kIoBitmap);
  std::memset(ram_ + kTss + kIoBitmap, 0xff, 0x1000 - kIoBitmap);
  // The upper levels allow everything; the last decides.
  constexpr uint64_t kOpen = kPresent | kWritable | kUser;
  Poke<uint64_t>(kTables, (kTables + 0x1000) | kOpen);
  Poke<uint64_t>(kTables + 0x1000, (kTables + 0x2000) | kOpen);
  for (uint64_t i = 0; i < kSize >> 21; ++i) {
    Poke<uint64_t>(kTables + 0x2000 + i * 8, (kTables + 0x3000 + i * 0x1000) | kOpen);
  }
  for (uint64_t at = 0; at < kSize; at += x86::kPageSize) Pte(at) = at | kPresent | kWritable;
}

void Machine::OpenToUser() {
  for (uint64_t at = 0; at < kSize; at += x86::kPageSize) Pte(at) |= x86::pte::kUser;
}

void Machine::BuildIdt() {
  std::memcpy(ram_ + kHandler, guest_handler,
              static_cast<size_t>(guest_handler_end - guest_handler));
  for (unsigned vector = 0; vector < 256; ++vector) {
    uint64_t stub = kStubs + 32 * vector;
    std::vector<uint8_t> code;
    if (vector >= 32 || !x86::HasErrorCode(static_cast<x86::Vector>(vector)))
      code = {0x6a, 0x00};  // push 0
    auto jump = [&](uint64_t target) {
      code.push_back(0xe9);
      auto distance = static_cast<uint32_t>(target - (stub + code.size() + 4));
      for (unsigned i = 0; i < 4; ++i) code.push_back(static_cast<uint8_t>(distance >> (8 * i)));
    };
    code.insert(code.end(), {0x68, static_cast<uint8_t>(vector), 0, 0, 0});  // push vector
    jump(kHandler);
    std::memcpy(ram_ + stub, code.data(), code.size());
    SetGate(static_cast<uint8_t>(vector), 0x8e00);
  }
}

void Machine::SetGate(uint8_t vector, uint64_t flags) {
  uint64_t stub = kStubs + 32 * vector;
  Poke<uint64_t>(kIdt + 16 * vector,
                 (stub & 0xffff) | uint64_t{kCode64} << 16 | flags << 32 | (stub >> 16) << 48);
  Poke<uint64_t>(kIdt + 16 * vector + 8, 0);
}

void Machine::Load(std::span<const uint8_t> code, uint64_t at) {
  std::memcpy(ram_ + at, code.data(), code.size());
  engine_->InvalidateCode(at, code.size());
}

x86::Registers Machine::Kernel(unsigned vcpu) const {
  x86::Registers r;
  r.cr0 = x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kNe | x86::cr0::kWp;
  r.cr3 = kTables;
  r.cr4 = x86::cr4::kPae | x86::cr4::kOsfxsr | x86::cr4::kPge;
  r.efer = x86::efer::kLme | x86::efer::kLma | x86::efer::kNxe | x86::efer::kSce;
  r.segment.fill(Segment(kData64));
  r.segment[x86::kCs] = Segment(kCode64);
  r.gdtr = {kGdt, 0xfff};
  r.idtr = {kIdt, 0xfff};
  r.tr = {kTssSelector, 0x8b, 0xfff, kTss};
  r.dr[6] = 0xffff0ff0;
  r.dr[7] = 0x400;
  r.rip = kCode;
  r.gpr[x86::kRsp] = kStackTop - vcpu * 0x10000;
  return r;
}

x86::Registers Machine::User(unsigned vcpu) const {
  x86::Registers r = Kernel(vcpu);
  r.segment.fill(Segment(kUserData & ~3));
  for (x86::Segment& segment : r.segment) segment.selector = kUserData;
  r.segment[x86::kCs] = Segment(kUserCode64 & ~3);
  r.segment[x86::kCs].selector = kUserCode64;
  return r;
}

Exit Machine::Run(const x86::Registers& from, unsigned vcpu) {
  vcpus_[vcpu]->SetRegisters(from);
  return Continue(vcpu);
}

Exit Machine::Continue(unsigned vcpu) {
  Exit exit = vcpus_[vcpu]->Run();
  if (vcpu == 0) regs = vcpus_[vcpu]->GetRegisters();
  return exit;
}

Exit Machine::RunCode(std::initializer_list<uint8_t> code) {
  std::vector<uint8_t> bytes(code);
  bytes.push_back(0xf4);
  Load(bytes);
  return Run(Kernel());
}

std::vector<Interrupted> Machine::interrupted() const {
  std::vector<Interrupted> out;
  for (uint64_t i = 0; i < Peek<uint64_t>(kRecordCount); ++i)
    out.push_back(Peek<Interrupted>(kRecords + 128 * i));
  return out;
}

}  // namespace trapline::engine
