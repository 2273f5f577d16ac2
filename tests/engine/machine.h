// SPDX-License-Identifier: Apache-2.0
// A machine for engine tests: RAM, one or more vCPUs, a host that answers as the test says, and a
// minimal "kernel": GDT, IDT, TSS and page tables, whose interrupt handlers record each
// interruption in guest memory.
#pragma once

#include <atomic>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/engine/engine.h"
#include "core/x86/exceptions.h"
#include "core/x86/flags.h"
#include "core/x86/paging.h"
#include "core/x86/registers.h"

namespace trapline::engine {

// What a vCPU calls; every answer can be replaced by the test.
class TestHost final : public VcpuHost {
 public:
  struct PortWrite {
    uint16_t port;
    unsigned size;
    uint32_t value;
    bool operator==(const PortWrite&) const = default;
  };

  std::vector<std::pair<uint16_t, unsigned>> port_reads;  // port, size
  std::vector<PortWrite> port_writes;
  std::function<void(uint16_t port, uint32_t value)> on_port_write;
  uint32_t port_value = 0;
  std::vector<std::pair<uint64_t, uint64_t>> mmio_writes;  // address, value
  std::vector<unsigned> mmio_sizes;
  uint64_t mmio_value = 0;
  std::map<uint32_t, uint64_t> msrs;
  std::vector<uint8_t> interrupts;  // pending, first comes first
  unsigned nmis = 0;                // how many wait
  uint8_t task_priority = 0;
  uint64_t tsc = 0, tsc_offset = 0;
  bool wants_exceptions = false;
  std::function<HypercallOutcome(HypercallFrame&, uint64_t)> on_interrupt_site;
  std::function<void*(uint64_t)> resolve;
  std::function<HypercallOutcome(void*, HypercallFrame&)> on_linked;
  std::function<void(uint64_t, uint64_t)> before_write;
  std::function<void(uint64_t, std::span<std::byte>, bool)> overlay;

  uint64_t ReadMmio(uint64_t, unsigned size) override {
    mmio_sizes.push_back(size);
    return mmio_value;
  }
  void WriteMmio(uint64_t gpa, unsigned size, uint64_t value) override {
    mmio_sizes.push_back(size);
    mmio_writes.emplace_back(gpa, value);
  }
  uint32_t ReadPort(uint16_t port, unsigned size) override {
    port_reads.emplace_back(port, size);
    return port_value;
  }
  void WritePort(uint16_t port, unsigned size, uint32_t value) override {
    port_writes.push_back({port, size, value});
    if (on_port_write) on_port_write(port, value);
  }
  bool ReadMsr(uint32_t index, uint64_t* value) override {
    auto it = msrs.find(index);
    if (it == msrs.end()) return false;
    *value = it->second;
    return true;
  }
  bool WriteMsr(uint32_t index, uint64_t value) override {
    auto it = msrs.find(index);
    if (it == msrs.end()) return false;
    it->second = value;
    return true;
  }
  std::optional<CpuidLeaf> HypervisorCpuid(uint32_t leaf) override {
    if (leaf != 0x40000000) return std::nullopt;
    return CpuidLeaf{0x40000001, 1, 2, 3};
  }
  bool InterruptPending() override { return !interrupts.empty(); }
  std::optional<uint8_t> AcknowledgeInterrupt() override {
    if (interrupts.empty()) return std::nullopt;
    uint8_t vector = interrupts.front();
    interrupts.erase(interrupts.begin());
    return vector;
  }
  bool TakeNmi() override { return nmis != 0 && nmis-- != 0; }
  uint8_t ReadTaskPriority() override { return task_priority; }
  void WriteTaskPriority(uint8_t priority) override { task_priority = priority; }
  uint64_t Tsc() override { return tsc += 100; }
  uint64_t TscOffset() override { return tsc_offset; }
  bool WantsExceptions() override { return wants_exceptions; }
  HypercallOutcome OnHypercallInterrupt(HypercallFrame& frame, uint64_t gpa) override {
    return on_interrupt_site ? on_interrupt_site(frame, gpa) : HypercallOutcome::kNotOurs;
  }
  void* ResolveLinkedSite(uint64_t gpa) override { return resolve ? resolve(gpa) : nullptr; }
  HypercallOutcome OnLinkedHypercall(void* site, HypercallFrame& frame) override {
    return on_linked ? on_linked(site, frame) : HypercallOutcome::kNotOurs;
  }
  void BeforeShadowedWrite(uint64_t gpa, uint64_t size) override {
    if (before_write) before_write(gpa, size);
  }
  void OverlayOriginal(uint64_t gpa, std::span<std::byte> bytes, bool fetch) override {
    if (overlay) overlay(gpa, bytes, fetch);
  }
};

// What a handler of the machine's saw.
struct Interrupted {
  uint64_t vector, error_code, rip, cs, rflags, rsp, ss, cr2, frame, dr6;
};

// Memory map. Linear addresses below kSize are physical ones, in pages of 4 KiB, supervisor and
// writable; behind that nothing is mapped.
class Machine {
 public:
  static constexpr uint64_t kSize = 8 << 20;
  static constexpr uint64_t kGdt = 0x1000, kIdt = 0x2000, kTss = 0x3000, kStubs = 0x4000,
                            kHandler = 0x6000;
  static constexpr uint64_t kRecords = 0x7000;  // Interrupted, 128 bytes apart
  static constexpr uint64_t kRecordCount = 0x6f00, kResume = 0x6f08;
  static constexpr uint64_t kCode = 0x8000;     // guests.S is laid out for this address
  static constexpr uint64_t kTables = 0x20000;  // PML4, PDPT, PD, then four PTs
  static constexpr uint64_t kData = 0x100000;
  static constexpr uint64_t kStackTop = 0x200000;  // vCPU n: 64 KiB * n lower
  static constexpr uint64_t kTssStack = 0x280000, kIstStack = 0x290000;
  static constexpr uint64_t kIoBitmap = 0x68;  // within the TSS
  static constexpr uint16_t kCode64 = 0x08, kData64 = 0x10, kUserCode32 = 0x1b, kUserData = 0x23,
                            kUserCode64 = 0x2b, kTssSelector = 0x30, kCode32 = 0x40, kCode16 = 0x48,
                            kData16 = 0x50, kFree = 0x58;
  // What handlers do behind recording (kResume): halt, go back, or go to the address that stands
  // there.
  static constexpr uint64_t kHalt = 0, kReturn = 1;

  explicit Machine(unsigned vcpus = 1);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Puts code at an address. guests.S labels: Load(guest_x, guest_x_end).
  void Load(std::span<const uint8_t> code, uint64_t at = kCode);
  void Load(std::initializer_list<uint8_t> code, uint64_t at = kCode) {
    Load(std::span<const uint8_t>(code.begin(), code.size()), at);
  }
  void Load(const uint8_t* begin, const uint8_t* end) { Load({begin, end}); }

  // 64-bit mode, CPL 0 or 3, at kCode.
  x86::Registers Kernel(unsigned vcpu = 0) const;
  x86::Registers User(unsigned vcpu = 0) const;

  // Runs from these registers until an exit; regs has the registers then.
  Exit Run(const x86::Registers& from, unsigned vcpu = 0);
  Exit Continue(unsigned vcpu = 0);
  // Runs code and a HLT behind it at kCode, in the kernel.
  Exit RunCode(std::initializer_list<uint8_t> code);

  std::vector<Interrupted> interrupted() const;
  // The page-table entry of a linear page below kSize.
  uint64_t& Pte(uint64_t linear) { return *At<uint64_t>(kTables + 0x3000 + (linear >> 12) * 8); }
  // Makes all pages accessible to user mode.
  void OpenToUser();
  void SetGate(uint8_t vector, uint64_t gate_low_flags);

  template <typename T>
  T* At(uint64_t address) {
    return reinterpret_cast<T*>(ram_ + address);
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

  Engine& engine() { return *engine_; }
  Vcpu& vcpu(unsigned i = 0) { return *vcpus_[i]; }
  TestHost& host(unsigned i = 0) { return *hosts_[i]; }
  x86::Registers regs;

 private:
  void BuildTables();
  void BuildIdt();

  std::byte* ram_;
  RamRegion region_;
  std::vector<std::unique_ptr<TestHost>> hosts_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
};

// Guests of guests.S.
extern "C" {
#define TRAPLINE_GUEST(name) extern const uint8_t name[], name##_end[]
TRAPLINE_GUEST(guest_handler);
TRAPLINE_GUEST(guest_modes);
TRAPLINE_GUEST(guest_virtual8086);
TRAPLINE_GUEST(guest_call_gate);
TRAPLINE_GUEST(guest_patch_itself);
TRAPLINE_GUEST(guest_patch_reader);
TRAPLINE_GUEST(guest_patch_writer);
TRAPLINE_GUEST(guest_locked_adds);
TRAPLINE_GUEST(guest_counter);
TRAPLINE_GUEST(guest_syscall);
#undef TRAPLINE_GUEST
}

}  // namespace trapline::engine
