// SPDX-License-Identifier: Apache-2.0
// A machine of one vCPU and a few MiB of RAM behind the public engine seam, for tests that run
// hand-made instructions.
#pragma once

#include <sys/mman.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/engine/engine.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"
#include "core/x86/registers.h"

namespace trapline::engine {

// Devices, MSRs and interrupts that are not there.
class NoHost final : public VcpuHost {
 public:
  uint64_t ReadMmio(uint64_t, unsigned) override { return ~uint64_t{0}; }
  void WriteMmio(uint64_t, unsigned, uint64_t) override {}
  uint32_t ReadPort(uint16_t, unsigned) override { return ~uint32_t{0}; }
  void WritePort(uint16_t, unsigned, uint32_t) override {}
  bool ReadMsr(uint32_t, uint64_t*) override { return false; }
  bool WriteMsr(uint32_t, uint64_t) override { return false; }
  std::optional<CpuidLeaf> HypervisorCpuid(uint32_t) override { return std::nullopt; }
  bool InterruptPending() override { return false; }
  std::optional<uint8_t> AcknowledgeInterrupt() override { return std::nullopt; }
  bool TakeNmi() override { return false; }
  uint8_t ReadTaskPriority() override { return 0; }
  void WriteTaskPriority(uint8_t) override {}
  uint64_t Tsc() override { return 0; }
  HypercallOutcome OnHypercallInterrupt(HypercallFrame&, uint64_t) override {
    return HypercallOutcome::kNotOurs;
  }
  void* ResolveLinkedSite(uint64_t) override { return nullptr; }
  HypercallOutcome OnLinkedHypercall(void*, HypercallFrame&) override {
    return HypercallOutcome::kNotOurs;
  }
  void BeforeShadowedWrite(uint64_t, uint64_t) override {}
  void OverlayOriginal(uint64_t, std::span<std::byte>, bool) override {}
};

// RAM is mapped to itself by 2 MiB pages, supervisor and writable, up to kSize; behind that nothing
// is mapped.
class GuestMachine {
 public:
  static constexpr uint64_t kSize = 8 << 20;
  static constexpr uint64_t kCode = 0x10000;
  static constexpr uint64_t kData = 0x200000;
  static constexpr uint64_t kStackTop = 0x300000;

  GuestMachine() {
    void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ram_ = static_cast<std::byte*>(memory);
    region_ = {0, kSize, ram_};
    engine_ = CreateSoftEngine({&region_, 1}, CpuConfig{1, 1'000'000'000}).value();
    vcpu_ = engine_->CreateVcpu(0, host_).value();
    MapIdentity();
    registers = LongMode();
  }
  ~GuestMachine() {
    vcpu_.reset();
    engine_.reset();
    munmap(ram_, kSize);
  }
  GuestMachine(const GuestMachine&) = delete;
  GuestMachine& operator=(const GuestMachine&) = delete;

  // What Run starts from and, afterwards, what it ended with.
  x86::Registers registers;

  // Puts these bytes, and a HLT behind them, at kCode, and the vCPU there.
  void Load(std::span<const uint8_t> code) {
    if (!code.empty()) std::memcpy(ram_ + kCode, code.data(), code.size());
    ram_[kCode + code.size()] = std::byte{0xf4};
    engine_->InvalidateCode(kCode, code.size() + 1);
    registers.rip = kCode - registers.segment[x86::kCs].base;
    vcpu_->SetRegisters(registers);
  }
  // Loads and runs them.
  Exit Run(std::span<const uint8_t> code) {
    Load(code);
    Exit exit = vcpu_->Run();
    registers = vcpu_->GetRegisters();
    return exit;
  }
  Exit Run(std::initializer_list<uint8_t> code) {
    return Run(std::span<const uint8_t>(code.begin(), code.size()));
  }

  template <typename T>
  T Peek(uint64_t address) const {
    T value;
    std::memcpy(&value, ram_ + address, sizeof value);
    return value;
  }
  template <typename T>
  void Poke(uint64_t address, T value) {
    std::memcpy(ram_ + address, &value, sizeof value);
  }
  std::byte* ram() { return ram_; }
  Vcpu& vcpu() { return *vcpu_; }

  // 32-bit or 16-bit flat protected mode without paging, CPL 0.
  void EnterLegacy(bool wide) {
    namespace attr = x86::segment_attribute;
    uint16_t size = wide ? attr::kDefault32 : 0;
    registers.cr0 = x86::cr0::kPe | x86::cr0::kNe;
    registers.efer = 0;
    for (x86::Segment& segment : registers.segment) {
      segment = {0x10, static_cast<uint16_t>(kDataAttributes | size), 0xffffffff, 0};
    }
    registers.segment[x86::kCs] = {8, static_cast<uint16_t>(kCodeAttributes | size), 0xffffffff, 0};
  }

 private:
  static constexpr uint16_t kDataAttributes = 0x8093;
  static constexpr uint16_t kCodeAttributes = 0x809b;
  static constexpr uint64_t kTables = 0x1000;

  void MapIdentity() {
    using namespace x86::pte;
    Poke<uint64_t>(kTables, (kTables + 0x1000) | kPresent | kWritable);
    Poke<uint64_t>(kTables + 0x1000, (kTables + 0x2000) | kPresent | kWritable);
    for (uint64_t at = 0; at < kSize; at += 2 << 20) {
      Poke<uint64_t>(kTables + 0x2000 + at / (2 << 20) * 8,
                     at | kPresent | kWritable | kPageSizeBit);
    }
  }

  static x86::Registers LongMode() {
    namespace attr = x86::segment_attribute;
    x86::Registers r;
    r.cr0 = x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kNe | x86::cr0::kWp;
    r.cr3 = kTables;
    r.cr4 = x86::cr4::kPae | x86::cr4::kOsfxsr;
    r.efer = x86::efer::kLme | x86::efer::kLma;
    for (x86::Segment& segment : r.segment) segment = {0x10, kDataAttributes, 0xffffffff, 0};
    r.segment[x86::kCs] = {8, kCodeAttributes | attr::kLong, 0xffffffff, 0};
    r.gpr[x86::kRsp] = kStackTop;
    return r;
  }

  NoHost host_;
  std::byte* ram_ = nullptr;
  RamRegion region_{};
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Vcpu> vcpu_;
};

}  // namespace trapline::engine
